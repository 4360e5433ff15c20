"""A server runs the model: whatever it does, every event is scored once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import ModelServerError
from stream_infer.models.artifact import Artifact
from stream_infer.models.loading import open_artifact
from stream_infer.models.model import Model
from stream_infer.models.placement import Placement, Server
from tests import bentoml_server, mlserver, triton
from tests.bentoml_server import BentoMlServer
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess
from tests.kafka.test_worker import sending
from tests.mlserver import MlServer
from tests.runtimes import RuntimeContract, drawn_artifact
from tests.serving import InferServer, Windows, serving, slow
from tests.triton import TritonServer

Deploy = Callable[..., Deployment]

needs_mlserver = [
    pytest.mark.skipif(mlserver.PROGRAM is None, reason="needs MLServer: make test-mlserver"),
    pytest.mark.timeout(600),
]
needs_bentoml = [
    pytest.mark.skipif(bentoml_server.PROGRAM is None, reason="needs BentoML: make test-bentoml"),
    pytest.mark.timeout(600),
]
needs_triton = [
    pytest.mark.skipif(triton.ENVIRONMENT is None, reason="needs Triton: make test-triton"),
    pytest.mark.timeout(600),
]
MODEL = "model"
Kind = type[MlServer | BentoMlServer | TritonServer]


@pytest.fixture
def server(model: Path) -> Iterator[InferServer]:
    with serving(Artifact.load(model)) as running:
        yield running


def model_is(worker: WorkerProcess, *, ok: bool) -> Callable[[], bool]:
    return lambda: worker.status().get("components", {}).get(MODEL, {}).get("ok") is ok


def gone(server: InferServer) -> None:
    server.stop()


def slowly(server: InferServer) -> None:
    server.fault = slow(4.0)


def wrong(server: InferServer) -> None:
    """In turns of another shape, and without numbers."""
    turns = itertools.count()

    def fault(windows: Windows, errors: Windows) -> Windows:
        return np.full_like(errors, np.nan) if next(turns) % 2 else errors[:, :, :-1]

    server.fault = fault


def heal(server: InferServer) -> None:
    server.fault = None
    server.start()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "breaks"),
    [("exactly_once", (gone, slowly, wrong)), ("at_least_once", (gone,))],
    ids=["exactly_once", "at_least_once"],
)
def test_a_server_that_is_gone_slow_or_wrong_for_a_while(
    deploy: Deploy,
    rows: Rows,
    server: InferServer,
    mode: str,
    breaks: tuple[Callable[[InferServer], None], ...],
) -> None:
    deployment = deploy(
        model={"server_url": server.url, "server_timeout_s": 3.0, "server_retries": 1},
        batch={"max_events": 100},
        delivery={"mode": mode},
    )
    worker = deployment.start()
    for number, break_down in enumerate(breaks):
        thread = sending(deployment, rows(300, start=500 * number), 1000)
        break_down(server)
        thread.join()
        # These meet it, if a fast machine has scored all others.
        deployment.send(rows(200, start=500 * number + 300))
        worker.wait_until(model_is(worker, ok=False))
        assert not worker.status()["ready"]
        heal(server)
        worker.wait_until(model_is(worker, ok=True))
    deployment.wait_committed()
    metrics = worker.get("metrics").text
    assert worker.stop() == 0

    outcome = deployment.outcome()
    assert outcome.sent == 500 * len(breaks)
    assert not outcome.rejects
    assert len({(e["source_partition"], e["source_offset"]) for e in outcome.scored}) == outcome.sent
    assert 'stream_infer_aborts_total{reason="model_unanswered"}' in metrics


@pytest.mark.kafka
def test_a_server_that_stays_away_ends_the_worker_and_loses_nothing(
    deploy: Deploy, rows: Rows, server: InferServer
) -> None:
    settings = {
        "server_url": server.url,
        "server_timeout_s": 4.0,
        "server_retries": 1,
        "server_patience_s": 3,
    }
    deployment = deploy(model=settings)
    worker = deployment.start()
    deployment.send(rows(500))
    deployment.wait_committed()
    server.stop()
    deployment.send(rows(500, start=500))
    assert worker.process.wait(120) == ModelServerError.exit_code
    assert "given up after" in worker.text()

    server.start()
    deployment.start()
    deployment.wait_committed()

    outcome = deployment.outcome()
    assert len(outcome.scored) == outcome.sent == 1000


class OnServer(RuntimeContract):
    """The contract on a server of the class ``kind``, over ``protocol``."""

    wide = 4000
    kind: Kind
    protocol: str

    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Model]]:
        folder = tmp_path_factory.mktemp("server")
        drawn_artifact().save(folder / "artifact")
        with cls.kind(folder / "served", folder / "artifact" / "model.onnx", "contract", "1") as server:
            own = {name.removeprefix("server_"): value for name, value in server.settings.items()}
            asked = Server(getattr(server, cls.protocol), version="{version}", timeout_s=10.0, **own)  # type: ignore[arg-type]
            yield lambda: open_artifact(drawn_artifact(), Placement(server=asked)).model


class TestMlServerOverHttp(OnServer):
    pytestmark = needs_mlserver
    kind, protocol = MlServer, "http"


class TestMlServerOverGrpc(OnServer):
    pytestmark = needs_mlserver
    kind, protocol = MlServer, "grpc"


class TestBentoMl(OnServer):
    pytestmark = needs_bentoml
    kind, protocol = BentoMlServer, "http"


class TestTritonOverHttp(OnServer):
    pytestmark = needs_triton
    kind, protocol = TritonServer, "http"


class TestTritonOverGrpc(OnServer):
    pytestmark = needs_triton
    kind, protocol = TritonServer, "grpc"


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        pytest.param(MlServer, "http", id="mlserver-http", marks=needs_mlserver),
        pytest.param(MlServer, "grpc", id="mlserver-grpc", marks=needs_mlserver),
        pytest.param(BentoMlServer, "http", id="bentoml", marks=needs_bentoml),
        pytest.param(TritonServer, "http", id="triton-http", marks=needs_triton),
        pytest.param(TritonServer, "grpc", id="triton-grpc", marks=needs_triton),
    ],
)
def test_a_server_is_killed_in_mid_stream_and_comes_back(
    deploy: Deploy, rows: Rows, model: Path, tmp_path: Path, kind: Kind, protocol: str
) -> None:
    name = Artifact.load(model).manifest.name
    with kind(tmp_path / "served", model / "model.onnx", name, "1") as server:
        deployment = deploy(model={"server_url": getattr(server, protocol), **server.settings})
        worker = deployment.start()
        thread = sending(deployment, rows(6000), 800)
        worker.wait_until(lambda: "stream_infer_scored_total 0.0" not in worker.get("metrics").text)
        server.kill()
        worker.wait_until(model_is(worker, ok=False))
        server.start()
        thread.join()
        deployment.wait_committed()

    outcome = deployment.outcome()
    assert len(outcome.scored) == outcome.sent == 6000
    assert worker.stop() == 0
