"""A real Triton Inference Server in a process of its own: the one that nvidia-pytriton bundles, on the CPU.

That build has the Python backend alone, so a few lines of Python run the ``model.onnx`` that Triton's backend for ONNX
takes as it is. It has an environment of its own, made by ``make test-triton``: its Python backend reads NumPy 1 only
(with 2 its answers are empty). TRITON_ENVIRONMENT names the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import onnx

from stream_infer.embedded.ports import HOST, free_ports
from tests.model_server_process import OpenInferenceServer

ENVIRONMENT = os.environ.get("TRITON_ENVIRONMENT") and Path(os.environ["TRITON_ENVIRONMENT"]).absolute()

_ASK = (
    "import json, sys, sysconfig; print(json.dumps([sys.base_prefix, sysconfig.get_path('purelib'), "
    "sysconfig.get_config_var('LIBDIR'), '%d.%d' % sys.version_info[:2]]))"
)
_MODEL = """\
import os, sys

sys.path.append({packages!r})
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        windows = triton.get_input_tensor_by_name(request, "windows").as_numpy()
        (errors,) = self.session.run(["errors"], {{"windows": windows}})
        return triton.InferenceResponse([triton.Tensor("errors", errors)])
"""
_CONFIG = """\
backend: "python"
input [{{ name: "windows", data_type: TYPE_FP32, dims: {windows} }}]
output [{{ name: "errors", data_type: TYPE_FP32, dims: {errors} }}]
instance_group [{{ kind: KIND_CPU }}]
"""


class _Installed(NamedTuple):
    """Where the environment has its things."""

    home: str
    packages: Path
    libraries: str
    python: str

    @property
    def triton(self) -> Path:
        return self.packages / "pytriton" / "tritonserver"

    @classmethod
    def ask(cls) -> _Installed:
        assert ENVIRONMENT
        said = subprocess.run([ENVIRONMENT / "bin" / "python", "-c", _ASK], check=True, capture_output=True)
        home, packages, libraries, python = json.loads(said.stdout)
        return cls(home, Path(packages), libraries, python)


class TritonServer(OpenInferenceServer):
    """Serves one ``model.onnx``; ``version`` is a whole number: Triton has no others."""

    def __init__(self, folder: Path, model: Path, name: str, version: str) -> None:
        super().__init__(folder, name, *free_ports(2))
        self._version = version
        self._installed = _Installed.ask()
        self._lay_out(model)

    def _lay_out(self, model: Path) -> None:
        """The model repository, and the backend with the program for this Python."""
        home = self._folder / "models" / self._name
        (home / self._version).mkdir(parents=True)
        shutil.copy(model, home / self._version / "model.onnx")
        code = _MODEL.format(packages=str(self._installed.packages))
        (home / self._version / "model.py").write_text(code)
        graph = onnx.load(model).graph
        shapes = {
            tensor.name: [dim.dim_value or -1 for dim in tensor.type.tensor_type.shape.dim]
            for tensor in (*graph.input, *graph.output)
        }
        (home / "config.pbtxt").write_text(_CONFIG.format(**shapes))
        triton, backend = self._installed.triton, self._folder / "backends" / "python"
        shutil.copytree(triton / "backends" / "python", backend)
        stub = "triton_python_backend_stub"
        shutil.copy(triton / "python_backend_stubs" / self._installed.python / stub, backend)
        (backend / stub).chmod(0o755)

    def _command(self) -> list[str]:
        return [
            str(self._installed.triton / "bin" / "tritonserver"),
            f"--model-repository={self._folder / 'models'}",
            f"--backend-directory={self._folder / 'backends'}",
            *(f"--{kind}-address={HOST}" for kind in ("http", "grpc")),
            f"--http-port={self._http_port}",
            f"--grpc-port={self._grpc_port}",
            "--allow-metrics=false",
        ]

    def _environment(self) -> dict[str, str]:
        """That of the environment's own Python alone: its backend is another program that has to find it."""
        bundled = self._installed.packages / "nvidia_pytriton.libs"
        return {
            "PATH": os.environ["PATH"],
            "PYTHONHOME": self._installed.home,
            "LD_LIBRARY_PATH": f"{self._installed.libraries}:{bundled}",
        }
