"""A real MLServer in a process of its own, with the runtime of docs/examples/mlserver.

It is large, so it has an environment of its own, made by ``make test-mlserver``. MLSERVER_PROGRAM names its program.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx

from stream_infer.embedded.ports import HOST, free_ports

PROGRAM = os.environ.get("MLSERVER_PROGRAM") and str(Path(os.environ["MLSERVER_PROGRAM"]).absolute())
EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "mlserver"
READY_S = 180.0


class MlServer:
    """Serves one ``model.onnx`` under a name, over HTTP and gRPC; after ``kill`` it may ``start`` again."""

    def __init__(self, folder: Path, model: Path, name: str, version: str) -> None:
        self._folder = folder
        self._http, self._grpc, metrics = free_ports(3)
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        shutil.copy(EXAMPLE / "stream_infer_onnx.py", folder)
        settings = json.loads((EXAMPLE / "model-settings.json").read_text())
        settings |= {"name": name, "parameters": {"uri": str(model.absolute()), "version": version}}
        (folder / "model-settings.json").write_text(json.dumps(settings))
        ports = {"http_port": self._http, "grpc_port": self._grpc, "metrics_port": metrics}
        (folder / "settings.json").write_text(json.dumps({"host": HOST, "parallel_workers": 0, **ports}))

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self._http}"

    @property
    def grpc(self) -> str:
        return f"grpc://{HOST}:{self._grpc}"

    def start(self) -> None:
        """Start it, and wait until the model is ready."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), "start", str(self._folder)],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not self._ready():
            text = (self._folder / "log").read_text("utf-8", "replace")[-3000:]
            assert self._process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)

    def kill(self) -> None:
        """End it as the OOM killer would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.http}/v2/models/{self._name}/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False
