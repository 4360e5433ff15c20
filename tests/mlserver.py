"""A real MLServer in a process of its own, with the runtime of docs/examples/mlserver.

It is large, so it has an environment of its own, made by ``make test-mlserver``. MLSERVER_PROGRAM names its program.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from stream_infer.embedded.ports import HOST, free_ports
from tests.model_server_process import OpenInferenceServer

PROGRAM = os.environ.get("MLSERVER_PROGRAM") and str(Path(os.environ["MLSERVER_PROGRAM"]).absolute())
EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "mlserver"


class MlServer(OpenInferenceServer):
    """Serves one ``model.onnx``."""

    def __init__(self, folder: Path, model: Path, name: str, version: str) -> None:
        http, grpc, metrics = free_ports(3)
        super().__init__(folder, name, http, grpc)
        folder.mkdir()
        shutil.copy(EXAMPLE / "stream_infer_onnx.py", folder)
        settings = json.loads((EXAMPLE / "model-settings.json").read_text())
        settings |= {"name": name, "parameters": {"uri": str(model.absolute()), "version": version}}
        (folder / "model-settings.json").write_text(json.dumps(settings))
        ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        (folder / "settings.json").write_text(json.dumps({"host": HOST, "parallel_workers": 0, **ports}))

    def _command(self) -> list[str]:
        return [str(PROGRAM), "start", str(self._folder)]
