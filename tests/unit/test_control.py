"""The control server over real HTTP, the status and the metrics."""

import ast
import inspect
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import stream_infer
from stream_infer.control import METRICS, ControlServer, Metrics, Status
from stream_infer.control import server as server_module
from stream_infer.errors import ControlError
from stream_infer.records import Scores


class Clock:
    """Time as a parameter."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def status(clock):
    return Status(("kafka", "model"), clock)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def control(status, metrics):
    control = ControlServer("127.0.0.1", 0, status, metrics, alive_within_s=30)
    control.open()
    yield control
    control.close()


@pytest.fixture
def client(control):
    with httpx.Client(base_url=f"http://127.0.0.1:{control.port}", timeout=30) as client:
        yield client


def test_healthy_until_the_loop_stands_still(client, status, clock):
    assert client.get("/healthz").status_code == 200
    clock.now_s += 30.5
    late = client.get("/healthz")
    assert late.status_code == 503
    assert late.json() == {"alive": False, "progress_age_s": 30.5, "within_s": 30}
    status.progress()
    assert client.get("/healthz").json()["alive"] is True


def test_ready_once_running_and_every_component_is_usable(client, status):
    first = client.get("/readyz")
    assert first.status_code == 503
    assert first.json()["not_ready"] == ["phase", "kafka", "model"]
    status.phase("running")
    status.component("kafka", ok=True, detail="3 brokers")
    second = client.get("/readyz")
    assert second.status_code == 503
    assert second.json()["not_ready"] == ["model"]
    status.component("model", ok=True, detail="smd 1")
    third = client.get("/readyz")
    assert third.status_code == 200
    assert third.json()["components"]["kafka"] == {"ok": True, "detail": "3 brokers"}
    status.component("kafka", ok=False, detail="all brokers down")
    assert client.get("/readyz").status_code == 503


def test_status_tells_what_the_worker_told(client, status, clock):
    status.phase("restoring")
    status.positions({0: 17, 3: 4})
    status.fact(app="smd", mode="exactly_once")
    clock.now_s += 2
    told = client.get("/status").json()
    assert told["phase"] == "restoring"
    assert told["positions"] == {"0": 17, "3": 4}
    assert told["facts"] == {"app": "smd", "mode": "exactly_once"}
    assert told["uptime_s"] == 2.0
    assert told["ready"] is False


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/status"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_get(client, method, path):
    assert client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/config", "/redoc"])
def test_no_other_pages(client, path):
    assert client.get(path).status_code == 404


def test_a_taken_port_names_the_setting_and_the_cure(status, metrics):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ControlError, match=rf"control\.port = {port}.*set control\.port to another"):
            ControlServer("127.0.0.1", port, status, metrics, 30).open()


def test_an_address_of_another_machine_is_refused(status, metrics):
    with pytest.raises(ControlError, match=r"control\.host = 192\.0\.2\.1"):
        ControlServer("192.0.2.1", 0, status, metrics, 30).open()


def test_close_frees_the_port_and_ends_the_thread(status, metrics):
    control = ControlServer("127.0.0.1", 0, status, metrics, 30)
    control.open()
    port = control.port
    control.close()
    control.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "control"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2)


def test_close_can_be_interrupted_and_comes_again(monkeypatch, status, metrics):
    control = ControlServer("127.0.0.1", 0, status, metrics, 30)
    control.open()
    thread, join = control._thread, control._thread.join

    def interrupted(timeout=None):
        join(timeout)
        raise KeyboardInterrupt

    monkeypatch.setattr(thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        control.close()
    monkeypatch.undo()

    control.close()
    assert not thread.is_alive()


def test_signals_stay_with_the_main_thread(control):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_client_that_sends_nothing_is_let_go(monkeypatch, status, metrics):
    monkeypatch.setattr(server_module, "_CONNECTION_AGE_S", 0.3)
    control = ControlServer("127.0.0.1", 0, status, metrics, 30)
    control.open()
    try:
        began_s = time.monotonic()
        with socket.create_connection(("127.0.0.1", control.port), timeout=60) as silent:
            silent.sendall(b"GET /metrics HTTP/1.1\r\nHos")
            assert silent.recv(1) == b""
            assert 0.2 < time.monotonic() - began_s < 25  # unpatched it is 30
    finally:
        control.close()


def test_requests_are_answered_while_other_connections_hang(control, client):
    silent = [socket.create_connection(("127.0.0.1", control.port), timeout=30) for _ in range(20)]
    try:
        assert client.get("/healthz").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def scores(anomalies, orders):
    count = len(orders)
    return Scores(
        np.ones(count),
        np.ones(count),
        np.asarray(anomalies, bool),
        np.full((count, 3), -1, np.int32),
        np.zeros((count, 3), np.float32),
        np.ones(count, bool),
        np.asarray(orders, np.uint8),
        np.arange(count, dtype=np.uint8),
    )


def test_the_product_tells_everything_that_is_measured():
    """A metric that nobody feeds says 0 for ever, which looks like a value."""
    package = Path(stream_infer.__file__).parent
    told = {
        node.attr
        for path in package.rglob("*.py")
        if path != Path(inspect.getfile(Metrics))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).rpartition(".")[2].lstrip("_") == "metrics"
    }
    methods = {name for name in vars(Metrics) if not name.startswith("_")}

    assert methods - told == {"value"}  # read by the tests


def test_metrics_count_batches(client, metrics):
    metrics.polled(100, 4096, "max_events")
    metrics.polled(3, 96, "empty")
    metrics.scored(scores([True, False, False], [0, 1, 2]))
    metrics.rejected("decode", "truncated", 2)
    metrics.rejected("decode", "trailing_bytes", 1)
    metrics.stage("decode", 0.25)
    metrics.stage("decode", 0.5)
    metrics.lag({0: 5, 1: 0})
    metrics.lag({1: 7})
    metrics.committed()
    metrics.aborted("revoked")
    metrics.rebuilt("unknown_outcome")
    metrics.rebalanced("assigned")
    metrics.state(19, 4096)
    metrics.flushed(7, 2)
    metrics.restored(2, 1.5, 300)
    metrics.model("smd", "1", "cpu", ("champion", "prod"), "s3://models/1")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }

    def value(name, /, **labels):
        return samples.get((f"stream_infer_{name}", tuple(sorted(labels.items()))))

    assert value("events_total") == 103
    assert value("input_bytes_total") == 4192
    assert value("batches_total", cut="max_events") == 1
    assert value("batch_events_bucket", le="5") == 1
    assert value("batch_events_bucket", le="100") == 2
    assert value("batch_events_sum") == 103
    assert value("scored_total") == 3
    assert value("anomalies_total") == 1
    assert value("alerts_total") == 1
    assert value("late_total") == 1
    assert value("repeated_total") == 1
    assert value("rejects_total", stage="decode", error="truncated") == 2
    assert value("stage_seconds_total", stage="decode") == 0.75
    assert value("lag_events", partition="1") == 7
    assert value("lag_events", partition="0") is None
    assert value("assigned_partitions") == 1
    assert value("aborts_total", reason="revoked") == 1
    assert value("producer_rebuilds_total", reason="unknown_outcome") == 1
    assert value("rebalances_total", event="assigned") == 1
    assert value("state_entities") == 19
    assert value("state_flushed_total") == 7
    assert value("state_expired_total") == 2
    assert value("restores_total") == 2
    assert value("replayed_total") == 300
    known = {"aliases": "champion,prod", "uri": "s3://models/1", "run": ""}
    assert value("model_info", name="smd", version="1", device="cpu", **known) == 1
    assert value("ready") == 0
    assert metrics.value("stream_infer_commits_total") == 1


def test_latencies_of_a_batch_fall_into_the_same_buckets_as_one_by_one(metrics):
    rng = np.random.default_rng(7)
    now_ms = 1_700_000_000_000
    times = now_ms - rng.integers(-5, 400_000, 5000)
    metrics.delivered(np.append(times, -1), now_ms)
    seconds = np.maximum(now_ms - times, 0) / 1000
    bounds = next(metric.bounds for metric in METRICS if metric.name == "stream_infer_end_to_end_seconds")
    name = "stream_infer_end_to_end_seconds"
    for bound in bounds:
        expected = int(np.sum(seconds <= bound))
        assert metrics.value(f"{name}_bucket", le=f"{float(bound):g}") == expected, bound
    assert metrics.value(f"{name}_count") == 5000
    assert metrics.value(f"{name}_sum") == pytest.approx(seconds.sum())


def test_every_metric_of_the_table_is_exposed(metrics):
    exposed = metrics.exposition().decode()
    for metric in METRICS:
        family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        kind = metric.kind
        assert f"# TYPE {metric.name} {kind}" in exposed or f"# TYPE {family} {kind}" in exposed, metric.name


def test_two_workers_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.committed()
    assert one.value("stream_infer_commits_total") == 1
    assert other.value("stream_infer_commits_total") == 0


def test_status_from_many_threads_is_never_torn(status):
    def tell():
        for offset in range(500):
            status.positions(dict.fromkeys(range(8), offset))

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = [set(status.snapshot().positions.values()) for _ in range(500)]
    for thread in threads:
        thread.join()
    assert all(len(offsets) <= 1 for offsets in seen)
