"""The Open Inference Protocol over gRPC, against a server of grpcio in the test's own process.

A real server is asked in tests/kafka/test_model_server.py.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.embedded.ports import HOST
from stream_infer.errors import ModelError, ModelServerError
from stream_infer.models.loading import open_artifact
from stream_infer.models.model import Model
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import Placement, Server
from stream_infer.models.protobuf import delimited, fields, read_varints, varint
from stream_infer.models.remote.asking import Refused
from tests.runtimes import RuntimeContract, Windows, drawn_artifact, reference, some_windows

grpc = pytest.importorskip("grpc")

ARTIFACT = drawn_artifact()
Answer = Callable[[Windows, Any], bytes]


def tensor(errors: Windows, name: str = "errors", kind: str = "FP32", contents: bytes = b"") -> bytes:
    shape = b"".join(varint(size) for size in errors.shape)
    described = delimited(1, name.encode()) + delimited(2, kind.encode()) + delimited(3, shape)
    return delimited(5, described + contents)


def raw(errors: Windows) -> bytes:
    """Beside another output, as some servers answer all of them."""
    other = np.zeros((1,), np.float32)
    return (
        tensor(other, "other")
        + tensor(errors)
        + delimited(6, other.tobytes())
        + delimited(6, errors.tobytes())
    )


def typed(errors: Windows) -> bytes:
    return tensor(errors, contents=delimited(5, delimited(6, errors.tobytes())))


def typed_one_by_one(errors: Windows) -> bytes:
    numbers = b"".join(varint(6 << 3 | 5) + struct.pack("<f", value) for value in errors.ravel())
    return tensor(errors, contents=delimited(5, numbers))


class GrpcServer:
    """``answer`` is what it says to (errors, context)."""

    def __init__(self) -> None:
        self.answer: Answer = lambda errors, context: raw(errors)
        self.asked: list[tuple[str, str, tuple[tuple[str, str], ...]]] = []
        manifest = ARTIFACT.manifest
        self._model = OnnxModel.open(ARTIFACT.model, (manifest.name, manifest.version), manifest.layout)
        self._server = grpc.server(ThreadPoolExecutor(4))
        method = grpc.unary_unary_rpc_method_handler(self._infer)
        service = grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService", {"ModelInfer": method}
        )
        self._server.add_generic_rpc_handlers((service,))
        self.url = f"grpc://{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def _infer(self, request: bytes, context: Any) -> bytes:
        parts: dict[int, list[Any]] = {}
        for number, value in fields(memoryview(request)):
            parts.setdefault(number, []).append(value)
        described = dict(fields(parts[5][0]))
        assert (bytes(described[1]), bytes(described[2])) == (b"windows", b"FP32")
        shape = read_varints(described[3])  # type: ignore[arg-type]
        windows = np.frombuffer(parts[7][0], np.float32).reshape(shape)
        names = [bytes(parts[number][0]).decode() if number in parts else "" for number in (1, 2)]
        self.asked.append((names[0], names[1], tuple(context.invocation_metadata())))
        return self.answer(self._model.score(windows), context)


@pytest.fixture(scope="module")
def running() -> Iterator[GrpcServer]:
    server = GrpcServer()
    yield server
    server.close()


@pytest.fixture
def server(running: GrpcServer) -> GrpcServer:
    running.answer = lambda errors, context: raw(errors)
    running.asked.clear()
    return running


def opened(server: GrpcServer, **changes: Any) -> Model:
    wanted = Server(server.url, **{"timeout_s": 60.0, **changes})
    return open_artifact(ARTIFACT, Placement(server=wanted)).model


class TestGrpc(RuntimeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls, running: GrpcServer) -> Callable[[], Model]:
        return lambda: opened(running)


def test_what_is_asked(server: GrpcServer) -> None:
    opened(server, name="d", version="{version}", token="secret")
    ((name, version, login),) = set(server.asked)
    assert (name, version) == ("d", "1")
    assert ("authorization", "Bearer secret") in login


@pytest.mark.parametrize("form", [raw, typed, typed_one_by_one])
def test_every_form_of_an_answer_is_read(server: GrpcServer, form: Callable[[Windows], bytes]) -> None:
    server.answer = lambda errors, context: form(errors)
    np.testing.assert_allclose(opened(server).score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def code(name: str) -> Answer:
    return lambda errors, context: context.abort(getattr(grpc.StatusCode, name), "told so")


def late(errors: Windows, context: Any) -> bytes:
    time.sleep(1.5)
    return raw(errors)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (code("UNAVAILABLE"), "UNAVAILABLE told so"),
        (code("NOT_FOUND"), "NOT_FOUND told so"),
        (code("UNAUTHENTICATED"), "UNAUTHENTICATED told so"),
        (code("RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED told so"),
        (code("INTERNAL"), "even windows that it must know.*INTERNAL told so"),
        (late, "DEADLINE_EXCEEDED"),
        (lambda errors, context: raw(errors[:, :1]), "of shape"),
        (
            lambda errors, context: tensor(errors, "other") + delimited(6, errors.tobytes()),
            "no output errors",
        ),
        (lambda errors, context: tensor(errors, kind="FP16"), "FP16, not FP32"),
        (lambda errors, context: tensor(errors), "cannot be read"),
        (lambda errors, context: b"\xff\xff", "cannot be read"),
    ],
)
def test_a_server_that_fails_is_a_worker_error_after_bounded_tries(
    server: GrpcServer, answer: Answer, words: str
) -> None:
    model = opened(server, timeout_s=1.0 if answer is late else 60.0)
    server.answer = answer
    server.asked.clear()
    with pytest.raises(ModelServerError, match=words):
        model.score(some_windows(5))
    assert 1 < len(server.asked) <= 6


def test_nobody_there_then_somebody(server: GrpcServer) -> None:
    with pytest.raises(ModelServerError, match=r"UNAVAILABLE.*asked 3 times"):
        open_artifact(ARTIFACT, Placement(server=Server(f"grpc://{HOST}:9", timeout_s=5.0)))


def test_a_refusal_of_one_window_is_the_windows_own(server: GrpcServer) -> None:
    model = opened(server)

    def unless_alone(errors: Windows, context: Any) -> bytes:
        if len(errors) == 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
        return raw(errors)

    server.answer = unless_alone
    with pytest.raises(Refused, match="not this one"):
        model.score(some_windows(1))


def test_other_protocols_do_not_speak_grpc(server: GrpcServer) -> None:
    with pytest.raises(ModelError, match="begin it with http://"):
        opened(server, protocol="bentoml")


@given(content=st.binary(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_bytes_come_back_are_an_answer_or_a_wait(server: GrpcServer, content: bytes) -> None:
    server.answer = lambda errors, context: raw(errors)
    model = opened(server, retries=0)
    server.answer = lambda errors, context: content
    with pytest.raises(ModelServerError):
        model.score(some_windows(2))
