"""Requests of a transaction that arrive late, inside the next one: our worker beside a loop of the usual form.

librdkafka repeats an EndTxn or a TxnOffsetCommit whose answer it did not get. The broker cannot tell the first, when
it arrives after all, from one of the next transaction (KAFKA-17754): a late commit makes records visible whose offsets
are not committed, a late abort drops records whose offsets will be, late offsets take the input back. Nothing
is raised. The same script is played to both; what it does to the usual loop shows that it works.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import Producer

from stream_infer.embedded import EmbeddedKafka
from tests.chaos.proxy import Network
from tests.chaos.proxy_frames import Api
from tests.chaos.proxy_rules import Hold, Match, Rule
from tests.kafka.comparisons import create
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess, stop_reading_at_end
from tests.kafka.groups import expel

pytestmark = pytest.mark.kafka

BATCH = 20
SHORT = {"socket.timeout.ms": 3000}
PATIENT_MEMBER = {"heartbeat.interval.ms": 200, "session.timeout.ms": 45_000}


class Loop(Protocol):
    """Who copies or scores records in transactions."""

    app: str

    def send(self, start: int) -> None: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


class OurWorker:
    """``stream-infer run``."""

    def __init__(self, deployment: Deployment, rows: Rows) -> None:
        self.app = deployment.app
        self.deployment = deployment
        self._rows = rows
        self.worker: WorkerProcess | None = None

    def send(self, start: int) -> None:
        self.deployment.send(self._rows(BATCH, start=start))

    def start(self) -> None:
        self.worker = self.deployment.start()
        self.deployment.wait_pinned()  # a transaction of its own, which no rule is meant for

    def kill(self) -> None:
        assert self.worker is not None
        self.worker.kill()


class ExampleLoop:
    """``example_loop.py``."""

    def __init__(self, direct: str, servers: str) -> None:
        self.app = f"x{uuid.uuid4().hex[:8]}"
        self.input, self.output = f"{self.app}.in", f"{self.app}.out"
        self._direct = direct
        self._servers = servers
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        for name in (self.input, self.output):
            create(self._direct, name, 1)

    def send(self, start: int) -> None:
        producer = Producer({"bootstrap.servers": self._direct, "enable.idempotence": True})
        for number in range(start, start + BATCH):
            producer.produce(self.input, str(number).encode())
        assert producer.flush(60) == 0

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.example_loop", "--batch", str(BATCH)]
        places = ["--servers", self._servers, "--input", self.input, "--output", self.output]
        self._process = subprocess.Popen(
            [*command, *places, "--app", self.app],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
            expel(self._direct, self.app)  # the next one would wait for the end of its session

    def copies(self) -> Counter[int]:
        """How often each of the first numbers is in the output, once one more batch has followed them."""
        self.send(2 * BATCH)
        deadline = time.monotonic() + 120
        while True:
            found = Counter(int(m.value()) for m in stop_reading_at_end(self._direct, self.output))
            if found[3 * BATCH - 1]:
                return Counter({number: found[number] for number in range(2 * BATCH)})
            assert time.monotonic() < deadline, f"only {len(found)} came"
            time.sleep(0.2)


@pytest.fixture
def example(surroundings: tuple[EmbeddedKafka, Network]) -> Iterator[ExampleLoop]:
    kafka, network = surroundings
    loop = ExampleLoop(kafka.bootstrap_servers, network.servers)
    loop.open()
    yield loop
    loop.kill()


Make = Callable[[str], OurWorker]


@pytest.fixture
def ours(
    surroundings: tuple[EmbeddedKafka, Network], deploy: Callable[..., Deployment], rows: Rows
) -> Iterator[Make]:
    kafka, network = surroundings

    made: list[OurWorker] = []

    def make(protocol: str) -> OurWorker:
        connection = {"bootstrap_servers": network.servers, "group_protocol": protocol}
        membership = PATIENT_MEMBER if protocol == "classic" else {}
        settings = {
            "kafka": connection,
            "kafka.producer": SHORT,
            "kafka.consumer": membership,
            "delivery": {"slot": "0"},
        }
        made.append(OurWorker(deploy(partitions=1, servers=kafka.bootstrap_servers, **settings), rows))
        return made[-1]

    yield make
    for loop in made:
        print(*(worker.text() for worker in loop.deployment.workers), sep="\n")  # shown when the test fails


def play_late_commit(network: Network, loop: Loop, *, cut: bool) -> None:
    """The commit of one transaction arrives within the next one, before its offsets; then the process is killed."""
    late = network.add(Hold(end_txn(loop, committed=True), count=1, hang_up=cut))
    answers = network.add(Rule(end_txn(loop), response=True))
    loop.send(0)
    late.wait_taken()
    deliver_into_next_transaction(network, loop, late, answers)
    loop.kill()
    network.calm()
    loop.start()


def play_late_abort(network: Network, loop: Loop, *, cut: bool) -> None:
    """A transaction is aborted since its process is no longer in the group; that abort arrives within the next one."""
    late = network.add(Hold(end_txn(loop, committed=False), count=1, hang_up=cut))
    repeated = network.add(Hold(end_txn(loop, committed=False), count=1))
    answers = network.add(Rule(end_txn(loop), response=True))
    with expelled(network, loop.app):
        loop.send(0)
        late.wait_taken()
    repeated.release()  # the next transaction begins with a new membership
    gate = deliver_into_next_transaction(network, loop, late, answers)
    gate.release()
    network.calm()


def play_late_offsets(network: Network, loop: Loop, *, cut: bool) -> None:
    """The offsets of one transaction arrive within the next one, after its own; then the process is killed."""
    of_loop = {"transactional_id": loop.app}
    late = network.add(Hold(Match((Api.TXN_OFFSET_COMMIT,), **of_loop), count=1, hang_up=cut))
    answers = network.add(Rule(end_txn(loop, committed=True), response=True))
    loop.send(0)
    late.wait_taken()
    answers.wait_taken()
    gate = network.add(Hold(end_txn(loop, committed=True), count=1))
    stored = network.add(Rule(Match((Api.TXN_OFFSET_COMMIT,), **of_loop), response=True))
    loop.send(BATCH)
    gate.wait_taken()
    late.release()
    stored.wait_taken(count=2)
    gate.release()
    answers.wait_taken(count=2)
    loop.kill()
    network.calm()
    loop.start()


def deliver_into_next_transaction(network: Network, loop: Loop, late: Hold, answers: Rule) -> Hold:
    """Stop the next transaction between its records and its offsets, and release there what is late."""
    gate = network.add(Hold(Match((Api.ADD_OFFSETS_TO_TXN,), transactional_id=loop.app), count=1))
    written = network.add(Rule(Match((Api.PRODUCE,), transactional_id=loop.app), response=True))
    answers.wait_taken()  # of the repeated request: the transaction has ended as it should
    loop.send(BATCH)
    gate.wait_taken()  # both loops flush before
    written.wait_taken()
    before = answers.taken
    late.release()
    answers.wait_taken(count=before + 1)
    return gate


def end_txn(loop: Loop, *, committed: bool | None = None) -> Match:
    return Match((Api.END_TXN,), transactional_id=loop.app, committed=committed)


@contextmanager
def expelled(network: Network, group: str) -> Iterator[None]:
    """Leave a group of the classic protocol in the name of its only member, which is told so at the end of the block.

    Until then it works on: the brokers refuse its offsets.
    """
    heartbeat = Match((Api.HEARTBEAT,))  # one at a time: what is answered after the release is the one held
    with network.rule(Rule(heartbeat, response=True)) as told, network.rule(Hold(heartbeat)) as unheard:
        unheard.wait_taken()
        before = told.taken
        expel(network.servers, group)
        yield
        unheard.release()
        told.wait_taken(count=before + 1)


@pytest.mark.parametrize(("cut", "protocol"), [(True, "consumer"), (False, "classic")])
def test_a_late_commit_doubles_nothing(network: Network, ours: Make, cut: bool, protocol: str) -> None:
    loop = ours(protocol)
    loop.start()
    first = loop.worker
    play_late_commit(network, loop, cut=cut)
    loop.deployment.wait_committed()

    assert len(loop.deployment.outcome().scored) == 2 * BATCH
    assert first is not None
    assert "reason=commit_unanswered" in first.text()


@pytest.mark.parametrize("cut", [True, False])
def test_a_late_abort_loses_nothing(network: Network, ours: Make, cut: bool) -> None:
    loop = ours("classic")
    loop.start()
    play_late_abort(network, loop, cut=cut)
    loop.deployment.wait_committed()

    assert len(loop.deployment.outcome().scored) == 2 * BATCH
    assert loop.worker is not None
    assert 'rebuilds_total{reason="abort_unanswered"} 1.0' in loop.worker.get("metrics").text


def test_a_late_commit_doubles_in_the_usual_loop(network: Network, example: ExampleLoop) -> None:
    example.start()
    play_late_commit(network, example, cut=True)

    assert example.copies() == dict.fromkeys(range(BATCH), 1) | dict.fromkeys(range(BATCH, 2 * BATCH), 2)


def test_a_late_abort_loses_in_the_usual_loop(network: Network, example: ExampleLoop) -> None:
    example.start()
    play_late_abort(network, example, cut=True)

    assert example.copies() == dict.fromkeys(range(BATCH), 0) | dict.fromkeys(range(BATCH, 2 * BATCH), 1)


def test_late_offsets_double_in_the_usual_loop(network: Network, example: ExampleLoop) -> None:
    example.start()
    play_late_offsets(network, example, cut=True)

    assert example.copies() == dict.fromkeys(range(BATCH), 1) | dict.fromkeys(range(BATCH, 2 * BATCH), 2)


def test_late_offsets_double_nothing(network: Network, ours: Make) -> None:
    loop = ours("consumer")
    loop.start()
    play_late_offsets(network, loop, cut=False)
    loop.send(2 * BATCH)
    loop.deployment.wait_committed()

    assert len(loop.deployment.outcome().scored) == 3 * BATCH
