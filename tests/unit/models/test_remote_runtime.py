"""The runtime `remote`: what it asks, and that whatever a server does ends as an answer, a refusal, or a wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stream_infer.build.model import fixed, model_of, placement_of
from stream_infer.cli import main
from stream_infer.config.model import ModelSettings, PathOrAddress
from stream_infer.errors import ModelServerError, ModelServerGoneError
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.models.loading import open_artifact
from stream_infer.models.model import Model
from stream_infer.models.placement import Placement, Protocol, Server
from stream_infer.models.remote import remote_runtime
from stream_infer.models.remote.asking import Refused, Unanswered
from stream_infer.models.remote.remote_runtime import asking_of
from stream_infer.records import Columns, Text
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.runtimes import FEATURES, RuntimeContract, drawn_artifact, reference, some_windows
from tests.serving import Fault, InferServer, Said, Windows, serving, slow

ARTIFACT = drawn_artifact()
QUICK = {"retries": 2}


def opened(server: InferServer, **changes: Any) -> Model:
    wanted = replace(Server(server.url), **{"timeout_s": 60.0, **changes})
    return open_artifact(ARTIFACT, Placement(server=wanted)).model


@pytest.fixture
def server() -> Iterator[InferServer]:
    with serving(ARTIFACT) as running:
        yield running


class OverHttp(RuntimeContract):
    protocol: Protocol
    wide = 4000

    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Iterator[Callable[[], Model]]:
        with serving(ARTIFACT) as running:
            yield lambda: opened(running, protocol=cls.protocol)


class TestOpenInference(OverHttp):
    protocol = "open-inference"


class TestBentoMl(OverHttp):
    protocol = "bentoml"


class TestTensorFlowServing(OverHttp):
    protocol = "tensorflow-serving"


@pytest.mark.parametrize(
    ("protocol", "changes", "path"),
    [
        ("open-inference", {}, "/v2/models/contract/infer"),
        ("open-inference", {"version": "{version}"}, "/v2/models/contract/versions/1/infer"),
        ("open-inference", {"name": "d-{version}", "version": "3"}, "/v2/models/d-1/versions/3/infer"),
        ("bentoml", {"name": "score"}, "/score"),
        ("tensorflow-serving", {}, "/v1/models/contract:predict"),
        ("tensorflow-serving", {"version": "{version}"}, "/v1/models/contract/versions/1:predict"),
    ],
)
def test_what_is_asked(server: InferServer, protocol: str, changes: dict[str, str], path: str) -> None:
    opened(server, protocol=protocol, **changes)
    assert set(server.paths) == {path}


def test_the_settings_say_whom_to_ask_and_a_followed_version_by_its_registrys_name(tmp_path: Path) -> None:
    settings = ModelSettings(
        path=tmp_path,
        server_url="grpc://h:1",
        server_version="{version}",
        server_token=SecretStr("secret"),
        server_timeout_s=1.5,
    )
    version = ModelVersion("detector", "7", "models:/detector/7")

    own, followed = placement_of(settings), placement_of(fixed(settings, tmp_path / "7", version))

    assert own.server == Server("grpc://h:1", version="{version}", token="secret", timeout_s=1.5)
    assert followed.server is not None
    assert followed.server.version == "7"
    assert "secret" not in repr(own)
    assert placement_of(ModelSettings(path=tmp_path, device="cuda", fallback=True)) == Placement(
        "cuda", fallback=True
    )


def test_what_an_alias_comes_to_mean_is_asked_for_by_its_own_name(
    server: InferServer, tmp_path: Path
) -> None:
    ARTIFACT.save(tmp_path / "artifact")
    registry = DirectoryRegistry(tmp_path / "models" / "detector")
    for version in ("7", "8"):
        registry.add(tmp_path / "artifact", version, {})
    registry.point("current", "7")
    source = f"{tmp_path / 'models' / 'detector'}@current"
    settings = ModelSettings(source=PathOrAddress(source), server_url=server.url, server_name="d-{version}")

    at_hand, followed = model_of(settings)
    assert followed is not None
    registry.point("current", "8")
    after = followed.first()

    assert list(dict.fromkeys(server.paths)) == ["/v2/models/d-7/infer", "/v2/models/d-8/infer"]
    assert at_hand.loaded.device == after.loaded.device == "server"
    followed.close()


def test_a_batch_goes_in_requests_of_half_a_megabyte(server: InferServer) -> None:
    model = opened(server)
    server.rows.clear()
    model.score(some_windows(7_000))
    assert sum(server.rows) == 7_000
    assert max(server.rows) * 5 * FEATURES * 4 <= 1 << 19


def test_a_server_of_another_model_is_refused(server: InferServer) -> None:
    server.fault = lambda windows, errors: errors[:, ::-1]
    with pytest.raises(
        ModelServerError, match=r"runs another model.*Cure: give it the model\.onnx of contract 1"
    ):
        opened(server)


def test_a_server_that_comes_back_with_another_model_is_waited_for(server: InferServer) -> None:
    model = opened(server, **QUICK)
    server.stop()
    with pytest.raises(ModelServerError, match="ConnectError"):
        model.score(some_windows(5))
    server.fault = lambda windows, errors: errors[:, ::-1]
    server.start()
    with pytest.raises(ModelServerError, match="runs another model"):
        model.score(some_windows(5))
    server.fault = None
    np.testing.assert_allclose(model.score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def test_another_model_under_the_same_name_is_found_out(
    server: InferServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(server, **QUICK)
    asked = len(server.rows)
    model.score(some_windows(5))
    assert len(server.rows) - asked == 1  # nothing beside the batch itself
    server.fault = lambda windows, errors: errors[:, ::-1]
    monkeypatch.setattr(remote_runtime, "_PROVE_EVERY_S", 0.0)
    with pytest.raises(ModelServerError, match="runs another model"):
        model.score(some_windows(5))


def test_a_server_of_less_precision_is_taken(server: InferServer) -> None:
    server.fault = lambda windows, errors: errors.astype(np.float16).astype(np.float32)
    assert opened(server).name == "contract"


def test_nobody_there(server: InferServer) -> None:
    server.stop()
    with pytest.raises(ModelServerError, match=r"ConnectError.*asked 3 times.*Cure: give it"):
        opened(server, **QUICK)


def test_a_server_is_timed_beside_the_artifact(server: InferServer, tmp_path: Path) -> None:
    ARTIFACT.save(tmp_path / "a")
    words = ["bench-model", str(tmp_path / "a"), "--seconds", "0.01", "--server-url", server.url, "--json"]
    told = CliRunner().invoke(main, words, catch_exceptions=False)
    assert list(json.loads(told.output)) == [str(tmp_path / "a"), f"{tmp_path / 'a'} at {server.url}"]
    assert max(server.rows) == 4096


# ---- a server that goes wrong once it is in use


def nan(windows: Windows, errors: Windows) -> Windows:
    return np.full_like(errors, np.nan)


def said(status: int) -> Fault:
    def fault(windows: Windows, errors: Windows) -> Windows:
        raise Said(status, '{"error": "no"}')

    return fault


def text(content: str) -> Fault:
    def fault(windows: Windows, errors: Windows) -> Windows:
        raise Said(200, content)

    return fault


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (said(503), "answers 503"),
        (said(404), "answers 404"),
        (said(401), "answers 401"),
        (said(307), "answers 307"),
        (said(500), "even windows that it must know"),
        (said(400), "even windows that it must know"),
        (nan, "no finite numbers, even for windows"),
        (lambda windows, errors: errors[:, :-1], "of shape"),
        (lambda windows, errors: errors[:-1], "of shape"),
        (text("<html>"), "answers no JSON"),
        (text("[1, 2]"), "without an output errors"),
        (text('{"outputs": [{"name": "errors", "data": ["x"], "shape": [1]}]}'), "not numbers"),
        (text('{"outputs": [{"name": "errors", "data": [1.0]}]}'), "1 numbers as of shape None"),
        (text('{"outputs": [{"name": "errors", "data": [1.0], "shape": [2, -1]}]}'), "of shape"),
    ],
)
def test_a_server_that_fails_is_a_worker_error_after_bounded_tries(
    server: InferServer, fault: Fault, words: str
) -> None:
    model = opened(server, **QUICK)
    server.fault = fault
    asked = len(server.paths)

    with pytest.raises(ModelServerError, match=words):
        model.score(some_windows(5))
    assert 1 < len(server.paths) - asked <= 6

    server.fault = None
    np.testing.assert_allclose(model.score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def test_a_server_that_answers_too_late_is_a_worker_error(server: InferServer) -> None:
    model = opened(server, **QUICK, timeout_s=1.0)
    server.fault = slow(1.5)
    with pytest.raises(ModelServerError, match="ReadTimeout"):
        model.score(some_windows(5))
    server.fault = None
    np.testing.assert_allclose(model.score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def test_a_server_that_is_gone_for_a_while_is_found_again(server: InferServer) -> None:
    model = opened(server, **QUICK)
    server.stop()
    with pytest.raises(ModelServerError, match="asked 3 times"):
        model.score(some_windows(5))
    server.start()
    np.testing.assert_allclose(model.score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def test_what_goes_wrong_once_is_asked_again(server: InferServer) -> None:
    model = opened(server, **QUICK)
    faults = iter([said(503), nan])

    def once(windows: Windows, errors: Windows) -> Windows:
        fault = next(faults, None)
        return errors if fault is None else fault(windows, errors)

    server.fault = once
    np.testing.assert_allclose(model.score(some_windows(5)), reference(some_windows(5)), atol=1e-4)


def test_one_that_does_not_come_back_is_given_up(server: InferServer) -> None:
    model = opened(server, **QUICK, patience_s=0.2)
    server.stop()
    with pytest.raises(ModelServerError):
        model.score(some_windows(1))
    time.sleep(0.3)
    with pytest.raises(ModelServerGoneError, match="given up after"):
        model.score(some_windows(1))


def test_patience_counts_from_the_first_failure_not_from_the_last_answer(server: InferServer) -> None:
    model = opened(server, **QUICK, patience_s=0.2)
    time.sleep(0.3)
    server.stop()
    with pytest.raises(ModelServerError) as caught:
        model.score(some_windows(1))
    assert not isinstance(caught.value, ModelServerGoneError)


# ---- records that a sound server does not take


def dislikes(row: Windows, how: Callable[[], Windows | None]) -> Fault:
    def fault(windows: Windows, errors: Windows) -> Windows:
        bad = (windows == row).all(axis=(1, 2))
        if bad.any():
            how()
            errors[bad] = np.nan
        return errors

    return fault


def refuses() -> Windows | None:
    raise Said(400, '{"error": "I do not like it"}')


@pytest.mark.parametrize(
    ("how", "error"), [(refuses, "model_raised"), (lambda: None, "score_not_finite")], ids=["400", "nan"]
)
def test_one_bad_record_is_rejected_alone(
    server: InferServer, how: Callable[[], Windows | None], error: str
) -> None:
    """Through the scorer, which halves a batch that is refused."""
    model = opened(server, retries=1)
    seen: list[Windows] = []
    profiles = ARTIFACT.profiles
    layout = ARTIFACT.manifest.layout

    def scored(count: int) -> tuple[Any, Any]:
        scorer = Scorer(model, profiles, layout, EntityTable(layout, profiles))
        features = np.random.default_rng(3).normal(size=(count, FEATURES))
        names = Text.of([b"e%d" % number for number in range(count)])
        number = np.arange(count, dtype=np.int64)
        columns = Columns(number, names, None, number, features)
        good, _, rejects = scorer.score(columns, np.zeros(count, np.int32), number)
        windows = scorer.recent.rows()
        if windows is not None:
            seen.append(windows[0])
        return good, rejects

    scored(20)
    server.fault = dislikes(seen[0][7], how)

    good, rejects = scored(20)

    assert list(good) == [row for row in range(20) if row != 7]
    assert [fault.error for part in rejects for _, fault in part] == [error]


def test_a_single_refusal_is_raised_as_it_was_said(server: InferServer) -> None:
    model = opened(server, **QUICK)
    windows = some_windows(1)
    server.fault = dislikes(windows[0], refuses)
    with pytest.raises(Refused, match="I do not like it"):
        model.score(windows)


RECORDED = sorted((Path(__file__).parents[2] / "data" / "serving").glob("*.json"))
EXCHANGES = [
    pytest.param(path.stem, exchange, id=f"{path.stem}-{number}")
    for path in RECORDED
    for number, exchange in enumerate(json.loads(path.read_text())["exchanges"])
]


@pytest.mark.parametrize(("protocol", "exchange"), EXCHANGES)
def test_the_recorded_contract(server: InferServer, protocol: str, exchange: dict[str, Any]) -> None:
    """The request is the one that the server took, and its answer is understood."""
    asked: list[tuple[str, Any]] = []

    def script(path: str, content: Any) -> None:
        asked.append((path, content))
        raise Said(exchange["status"], exchange["answer"])

    server.script = script
    asking = asking_of(Server(server.url, protocol, "score"))  # type: ignore[arg-type]
    windows = np.array(exchange["windows"], np.float32)
    raised = {"Refused": Refused, "Unanswered": Unanswered}.get(exchange.get("raises", ""))
    if raised is None:
        np.testing.assert_array_equal(asking.ask(windows, 5.0), np.array(exchange["errors"], np.float32))
    else:
        with pytest.raises(raised):
            asking.ask(windows, 5.0)
    asking.close()
    assert asked == [(exchange["path"], exchange["request"])]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
answers = json_values | st.fixed_dictionaries(
    {
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.just("errors"), "shape": json_values, "data": json_values}),
            max_size=2,
        )
    }
)


@pytest.mark.parametrize("protocol", ["open-inference", "bentoml", "tensorflow-serving"])
def test_whatever_json_comes_back_is_an_answer_or_a_wait(server: InferServer, protocol: str) -> None:
    model = opened(server, protocol=protocol, retries=0)

    @given(answer=answers)
    @settings(max_examples=40)
    def check(answer: Any) -> None:
        server.fault = text(json.dumps(answer))
        with pytest.raises(ModelServerError):
            model.score(some_windows(2))

    check()
