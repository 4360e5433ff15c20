"""The runtime ``torch``: a program of ``torch.export`` on a CPU, or compiled on an NVIDIA GPU.

Needs the extra ``torch``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.model import first_line
from stream_infer.models.placement import ON_CPU, DeviceError, Placement
from stream_infer.models.torch_graphs import Buckets, cuda_graphs
from stream_infer.models.torch_program import Named, Program, Value, unpack
from stream_infer.windows.layout import Layout

__all__ = ["TorchModel", "built", "memory_share"]

_MODELS_MAX = 2


class TorchModel:
    """Scores windows with a torch program. ``open`` makes one from the bytes of ``model.safetensors``."""

    def __init__(self, run: Any, name: str, version: str, layout: Layout) -> None:
        self.name = name
        self.version = version
        self.layout = layout
        self._run = run

    @classmethod
    def open(
        cls, content: bytes, identity: tuple[str, str], layout: Layout, placement: Placement = ON_CPU
    ) -> TorchModel:
        """Read the program and make it ready for the device. ``identity`` is (name, version).

        Raises ModelError when the program is refused, does not fit the layout, or the device cannot be used.
        """
        label = f"model {' '.join(identity)}"
        module = built(unpack(content, label))
        model = cls(_placed(module, layout, placement, len(content)), *identity, layout)
        model.check(label)
        return model

    def check(self, label: str) -> None:
        """Raise ModelError unless the program maps float32 windows (n, W, F) to float32 errors (n, T, F)."""
        layout = self.layout
        for count in (1, 3):
            wanted = (count, layout.terms, layout.features)
            try:
                errors = self.score(np.zeros((count, layout.window, layout.features), np.float32))
            except Exception as error:
                raise ModelError(
                    f"{label}: its program does not take windows ({count}, {layout.window}, {layout.features}): "
                    f"{first_line(error)}"
                ) from error
            if errors.shape != wanted or errors.dtype != np.float32:
                raise ModelError(
                    f"{label}: its program gives {errors.dtype} {errors.shape} where the manifest says float32 {wanted}"
                )

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> errors (n, T, F). Raises what torch raises."""
        with torch.inference_mode():
            errors: NDArray[np.float32] = self._run(torch.from_numpy(np.ascontiguousarray(windows))).numpy()
        return errors


def built(program: Program) -> torch.fx.GraphModule:
    """The graph of a program, its weights in it."""
    root = torch.nn.Module()
    graph = torch.fx.Graph()
    nodes = {program.given: graph.placeholder(program.given)}
    for name, weights in program.weights.items():
        root.register_buffer(name, torch.from_numpy(weights))
        nodes[name] = graph.get_attr(name)

    def given(value: Value) -> Any:
        if isinstance(value, Named):
            return nodes[value.name]
        return [given(one) for one in value] if isinstance(value, tuple) else value

    for call in program.calls:
        packet, overload = call.operator.removeprefix("torch.ops.aten.").split(".")
        operator = getattr(getattr(torch.ops.aten, packet), overload)
        arguments = tuple(given(value) for value in call.positional)
        named = {name: given(value) for name, value in call.by_name}
        nodes[call.result] = graph.call_function(operator, arguments, named)
    graph.output(nodes[program.wanted])
    return torch.fx.GraphModule(root, graph).eval()


def _placed(module: torch.fx.GraphModule, layout: Layout, placement: Placement, weights_bytes: int) -> Any:
    """What runs it: the module itself on a CPU, its compiled form in CUDA graphs on a GPU."""
    if placement.device == "cpu":
        torch.set_num_threads(placement.threads)
        return module
    if placement.device == "cuda" and torch.cuda.is_available():
        _, device_bytes = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(
            memory_share(placement.memory_bytes + weights_bytes, device_bytes)
        )
        record = cuda_graphs(torch.compile(module.cuda()), (layout.window, layout.features))
        return Buckets(record, placement.batch_max, locked=True)
    found = "has no CUDA device" if placement.device == "cuda" else "runs on cpu or cuda"
    raise DeviceError(
        f"model.device = {placement.device!r}: torch {torch.__version__} {found}; check the driver, "
        'or set model.device = "cpu"'
    )


def memory_share(model_bytes: int, device_bytes: int) -> float:
    """The share of a GPU's memory that torch may take: two models', as the next one is opened beside the first."""
    return min(1.0, _MODELS_MAX * model_bytes / device_bytes)
