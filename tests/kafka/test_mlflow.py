"""The MLflow registry, against a real MLflow server.

The server is large, so it has an environment of its own, made by ``make test-mlflow``. MLFLOW_PROGRAM names its
program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stream_infer.embedded.ports import HOST, free_ports
from stream_infer.errors import ModelRegistryError
from stream_infer.model_registry.registry import Catalogue
from stream_infer.model_registry.source import Login, ModelSource, open_registry
from stream_infer.models.artifact import Artifact

PROGRAM = os.environ.get("MLFLOW_PROGRAM") and str(Path(os.environ["MLFLOW_PROGRAM"]).absolute())
READY_S = 240.0

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs an MLflow server: make test-mlflow"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server with its own database and artifact store."""
    folder = tmp_path_factory.mktemp("mlflow")
    (port,) = free_ports(1)
    command = [
        str(PROGRAM), "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
        )
    try:
        _wait_ready(f"http://{HOST}:{port}", server, folder / "log")
        yield f"http://{HOST}:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        assert server.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


def test_register_follow_promote_and_fetch(mlflow: str, model: Path, tmp_path: Path) -> None:
    source = ModelSource.parse("models:/detector@champion")
    registry = open_registry(source, Login(mlflow))
    manifest = Artifact.load(model).manifest
    assert isinstance(registry, Catalogue)
    with pytest.raises(ModelRegistryError, match="no such alias or version"):
        registry.resolve("champion")

    first = registry.add(model, manifest.version, manifest.metrics)
    second = registry.add(model, manifest.version, manifest.metrics)
    registry.point("champion", first.version)

    found = registry.resolve("champion")
    assert (found.name, found.version) == ("detector", first.version)
    assert "champion" in registry.resolve(first.version).aliases
    assert found.metrics == pytest.approx(dict(manifest.metrics))
    assert found.run_link is not None
    assert found.run_link.startswith(mlflow)
    assert [version.version for version in registry.versions()] == [second.version, first.version]

    registry.point("champion", second.version)
    assert registry.resolve("champion").version == second.version

    registry.fetch(registry.resolve("champion"), tmp_path)
    assert Artifact.load(tmp_path).sha256 == Artifact.load(model).sha256


def test_a_server_that_is_not_there_is_said_with_its_cure() -> None:
    registry = open_registry(ModelSource.parse("models:/detector"), Login(f"http://{HOST}:9", timeout_s=1.0))
    with pytest.raises(ModelRegistryError, match="registry_url"):
        registry.resolve("champion")
