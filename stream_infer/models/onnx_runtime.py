"""The ONNX Runtime behind the Model protocol, on a CPU or an NVIDIA GPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.buckets import part_of
from stream_infer.models.model import first_line, lacks_memory
from stream_infer.models.onnx_lanes import Lanes
from stream_infer.models.onnx_scan import scan
from stream_infer.models.placement import ON_CPU, DeviceError, Placement
from stream_infer.windows.layout import Layout

__all__ = ["INPUT", "OUTPUT", "OnnxModel", "OverBoundError", "cuda_options", "tensorrt_options"]

INPUT = "windows"
OUTPUT = "errors"

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_FATAL_ONLY = 4  # ONNX Runtime prints what it also raises; the exception is enough
# As usual, but for the bound that goes in with it.
_UNBOUND = {
    "arena_extend_strategy": -1,
    "initial_chunk_size_bytes": -1,
    "max_dead_bytes_per_chunk": -1,
}
_OPENING = threading.Lock()


class OverBoundError(Exception):
    """A model wants more memory for these windows than it may take; other windows may do."""


class OnnxModel:
    """Scores windows with one ONNX Runtime session. ``open`` makes one from the bytes of a model file.

    A batch is one run of it, or with ``lanes`` goes through them in parts: on a CPU that costs, on a GPU it overlaps.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        identity: tuple[str, str],
        layout: Layout,
        lanes: Lanes | None = None,
    ) -> None:
        self.session = session
        self.name, self.version = identity
        self.layout = layout
        self._lanes = lanes

    @classmethod
    def open(
        cls,
        content: bytes,
        identity: tuple[str, str],
        layout: Layout,
        placement: Placement = ON_CPU,
    ) -> OnnxModel:
        """Start a session over the bytes of ``model.onnx``. ``identity`` is (name, version).

        Raises ModelError when the file is refused by the scan, does not fit the layout, or the device cannot
        be used by the installed ONNX Runtime.
        """
        label = " ".join(identity)
        scan(content, f"model {label}")
        providers = _providers(placement, layout)
        try:
            session = _session(content, placement, providers)
        except Exception as error:  # the binding does not export the classes that it raises
            raise ModelError(f"model {label}: ONNX Runtime cannot open it: {first_line(error)}") from error
        session.disable_fallback()
        used = session.get_providers()[0]
        if used != _PROVIDERS[placement.device]:
            raise DeviceError(
                f"model.device = {placement.device!r}: ONNX Runtime fell back to {used}: the driver or its "
                "CUDA, cuDNN or TensorRT libraries cannot be loaded; install those that "
                f'onnxruntime {onnxruntime.__version__} asks for, or set model.device = "cpu"'
            )
        model = cls(session, identity, layout)
        model.check()
        if placement.device == "cpu":
            return model
        lanes = Lanes(session, layout, part_of(placement.batch_max), locked=True)
        try:
            lanes.warm_up()
        except Exception as error:
            raise DeviceError(
                f"model.device = {placement.device!r}: model {label} cannot score there: {first_line(error)}; "
                'see whether it lacks memory or libraries, or set model.device = "cpu"'
            ) from error
        return cls(session, identity, layout, lanes)

    def check(self) -> None:
        """Raise ModelError unless the graph maps float32 windows (n, W, F) to float32 errors (n, T, F)."""
        layout = self.layout
        expected = (
            (self.session.get_inputs(), INPUT, [layout.window, layout.features]),
            (self.session.get_outputs(), OUTPUT, [layout.terms, layout.features]),
        )
        for tensors, name, shape in expected:
            found = [f"{tensor.name}: {tensor.type}{tensor.shape}" for tensor in tensors]
            good = (
                len(tensors) == 1
                and tensors[0].name == name
                and tensors[0].type == "tensor(float)"
                and not isinstance(tensors[0].shape[0], int)
                and list(tensors[0].shape[1:]) == shape
            )
            if not good:
                raise ModelError(
                    f"model {self.name} {self.version}: its graph has {', '.join(found) or 'nothing'} where "
                    f"the manifest says {name}: tensor(float)[n, {shape[0]}, {shape[1]}]"
                )

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> errors (n, T, F). Raises OverBoundError, and what ONNX Runtime raises."""
        try:
            if self._lanes is not None:
                return self._lanes(windows)
            errors: NDArray[np.float32] = self.session.run((OUTPUT,), {INPUT: windows})[0]
        except Exception as error:
            if lacks_memory(error):
                raise OverBoundError(
                    f"it wants more memory for {len(windows):,} windows than it may take beside its weights. Cure: "
                    "another model; or, if it is meant to, raise model.memory_bytes or lower batch.max_events"
                ) from error
            raise
        return errors


def _session(content: bytes, placement: Placement, providers: list[Any]) -> onnxruntime.InferenceSession:
    """A session whose tensors lie in an arena of its own that does not grow beyond ``memory_bytes``.

    The sizes a graph makes may depend on the windows, so no trial beforehand says how much it will want. The arena of
    a GPU is bounded by its provider's options.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = placement.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    if placement.device != "cpu":
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        return onnxruntime.InferenceSession(content, options, providers=providers)
    options.add_session_config_entry("session.use_env_allocators", "1")
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    bound = onnxruntime.OrtArenaCfg(_UNBOUND | {"max_mem": placement.memory_bytes})
    with _OPENING:  # a session takes the arena registered last, and keeps it
        onnxruntime.create_and_register_allocator(memory, bound)
        return onnxruntime.InferenceSession(content, options, providers=providers)


def _providers(placement: Placement, layout: Layout) -> list[Any]:
    device, available = placement.device, onnxruntime.get_available_providers()
    if _PROVIDERS[device] not in available:
        raise DeviceError(
            f"model.device = {device!r}: the installed onnxruntime {onnxruntime.__version__} offers only "
            f"{', '.join(available)}; install onnxruntime-gpu in the place of onnxruntime, "
            'or set model.device = "cpu"'
        )
    cpu, cuda = _PROVIDERS["cpu"], (_PROVIDERS["cuda"], cuda_options(placement))
    if device == "cpu":
        return [cpu]
    if device == "cuda":
        return [cuda, cpu]
    return [(_PROVIDERS["tensorrt"], tensorrt_options(placement, layout)), cuda, cpu]


def cuda_options(placement: Placement) -> dict[str, str]:
    """Scores on a GPU must equal those on a CPU, so float32 products are not shortened to TF32."""
    return {"use_tf32": "0", "gpu_mem_limit": str(placement.memory_bytes)}


def tensorrt_options(placement: Placement, layout: Layout) -> dict[str, str]:
    """One engine for all buckets: without a profile each new size would build another, seconds long."""
    part, shape = part_of(placement.batch_max), f"{layout.window}x{layout.features}"
    return {
        "trt_profile_min_shapes": f"{INPUT}:1x{shape}",
        "trt_profile_opt_shapes": f"{INPUT}:{part}x{shape}",
        "trt_profile_max_shapes": f"{INPUT}:{part}x{shape}",
        "trt_max_workspace_size": str(placement.memory_bytes),
    }
