"""A real BentoML server in a process of its own, with the service of docs/examples/bentoml.

It has an environment of its own, made by ``make test-bentoml``. BENTOML_PROGRAM names its program.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from stream_infer.embedded.ports import HOST, free_ports
from tests.model_server_process import ModelServer

PROGRAM = os.environ.get("BENTOML_PROGRAM") and str(Path(os.environ["BENTOML_PROGRAM"]).absolute())
SERVICE = Path(__file__).parent.parent / "docs" / "examples" / "bentoml" / "service.py"


class BentoMlServer(ModelServer):
    """Serves one ``model.onnx``; a service knows of no name and version of it."""

    settings: Mapping[str, str] = {"server_protocol": "bentoml", "server_name": "score"}

    def __init__(self, folder: Path, model: Path, name: str, version: str) -> None:
        super().__init__(folder, *free_ports(1), "/readyz")
        folder.mkdir()
        shutil.copy(SERVICE, folder)
        self._model = model.absolute()

    def _command(self) -> list[str]:
        address = ["--host", HOST, "--port", str(self._http_port)]
        return [str(PROGRAM), "serve", "service:Detector", *address]

    def _environment(self) -> Mapping[str, str]:
        own = {
            "STREAM_INFER_MODEL": str(self._model),
            "BENTOML_HOME": str(self._folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        return os.environ | own
