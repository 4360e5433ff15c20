"""The bytes of an ONNX model -> the bytes of the same model in another form. Needs the package onnx."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Literal

import onnx
import onnxruntime

from stream_infer.errors import ModelError
from stream_infer.models.artifact import MODEL, TORCH_MODEL
from stream_infer.models.placement import Device

__all__ = ["Target", "convert", "device_of", "file_of"]

Target = Literal["onnx", "onnx-int8", "onnx-fp16", "torch", "tensorrt"]
"""The form a model is to have:

onnx        constants folded, nodes that do nothing removed; the same numbers
onnx-int8   weights as integers of 7 bits, in bytes; sums of products as integers
onnx-fp16   weights and sums in half precision; windows and errors stay float32
torch       a program of torch.export with its weights, run by torch
tensorrt    the same graph, compiled by TensorRT on the GPU it runs on
"""


def device_of(target: Target) -> Device:
    """Where a model of this form runs."""
    return "tensorrt" if target == "tensorrt" else "cpu"


def file_of(target: Target) -> str:
    """The name of the model's file in this form."""
    return TORCH_MODEL if target == "torch" else MODEL


def convert(content: bytes, target: Target) -> bytes:
    """Convert the bytes of ``model.onnx``. Raises ModelError when the model cannot take the form."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # the converters warn of numbers that they cut; parity.py measures it
            if target == "onnx":
                return _folded(content)
            if target == "onnx-int8":
                return _quantised(content)
            if target == "onnx-fp16":
                return _halved(content)
            if target == "torch":
                from stream_infer.models.export.to_torch import to_torch  # noqa: PLC0415 - an extra, and slow

                return to_torch(content)
    except ImportError as error:
        raise ModelError(
            f"export to {target} needs a package that is not installed ({error}). Cure: pip install "
            f"'stream-infer[{'torch' if target == 'torch' else 'train'}]'"
        ) from None
    except Exception as error:
        raise ModelError(
            f"the model cannot be exported to {target}: {error}. Cure: another target"
        ) from error
    return content  # what TensorRT compiles is the graph as it is


def _folded(content: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return _without_unused_domains(Path(options.optimized_model_filepath).read_bytes())


def _without_unused_domains(content: bytes) -> bytes:
    """ONNX Runtime names every domain it knows of; the scan of an artifact takes those alone that are needed."""
    model = onnx.load_from_string(content)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    folded: bytes = model.SerializeToString()
    return folded


def _quantised(content: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - slow to import

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "source.onnx", Path(folder) / "made.onnx"
        source.write_bytes(content)
        # Of 7 bits: processors without VNNI add two products in 16 bits, which those of 8 bits overflow in silence.
        quantize_dynamic(source, made, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        return made.read_bytes()


def _halved(content: bytes) -> bytes:
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415 - slow to import

    made = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
    halved: bytes = made.SerializeToString()
    return halved
