"""One run: a deployment, its workers, the ledger, the reader through the faults, and the end in quiet."""

from __future__ import annotations

import heapq
import json
import random
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.errors import StalledError
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Sample
from tests.chaos.ledger import Ledger
from tests.chaos.options import Fault, Options, Start, settings_of
from tests.chaos.process import ChaosWorker
from tests.chaos.reader import OutputReader, Topics, offsets_of
from tests.kafka.deployment import Deployment

__all__ = ["Fault", "Options", "Rig", "Start"]

_LOOK_S = 0.1
_SAMPLE_EVERY_S = 2.0
_RESTART_AFTER_S = 1.0
_PROGRESS_WITHIN_S = 120.0
_MUTANT_PROGRESS_WITHIN_S = 25.0  # many never come to their end
_RESTARTS_MAX = 200
_OPEN_ATTEMPTS = 4
_READY_S = 600.0  # the first worker of a machine compiles
_DRAINED = frozenset({0, 130, -signal.SIGTERM})
"""How what was asked to end does end: drained, asked twice, or asked before it listened."""


class Rig:
    """A context manager around one run; for one thread, the scenario's."""

    _compiled = False

    def __init__(self, cluster: Cluster, model: Path, folder: Path, options: Options) -> None:
        self.cluster = cluster
        self.options = options
        self.folder = folder
        self.random = random.Random(options.seed)
        self.workers: list[ChaosWorker] = []
        self.faults: list[Fault] = []
        self.exits: Counter[str] = Counter()
        self.stalls: list[str] = []
        self.endings: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.measured: dict[str, list[float]] = {}
        self.closing = ExitStack()
        self.before_start: list[Callable[[Start], None]] = []
        self.deployment = Deployment(
            cluster.servers, folder, model, options.partitions, settings=settings_of(options)
        )
        self.topics = Topics(self.deployment.app, options.partitions)
        self.ledger = Ledger(
            cluster.servers,
            self.topics.input,
            options.partitions,
            options.rate,
            poison=options.poison,
            seed=options.seed,
        )
        self.live = OutputReader(cluster.servers, self.topics)
        self.broker_logs = cluster.logs()
        self.began_s = 0.0
        self._deadline_s = 0.0
        self._sampled_s = 0.0
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._later_count = 0
        self._starts: dict[int, dict[str, Any]] = {}
        self._started_count = 0
        self._known_dead: set[int] = set()
        self.stopping: set[int] = set()
        self.spared: set[int] = set()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> None:
        self._make_topics()
        self.clock.touch()
        self.set_clock(0.0)
        first = self.start(0)
        if not Rig._compiled:  # alone: it may have to compile, and then the others need not
            first.wait_ready(_READY_S)
            Rig._compiled = True
        for slot in range(1, self.options.workers):
            self.start(slot)
        for worker in self.workers:
            worker.wait_ready(_READY_S)
        self.live.start()
        self.ledger.start()
        self._wait_first_scores()
        self.begin()

    def __exit__(self, *_: object) -> None:
        self.closing.close()
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        self.ledger.finish(5)
        self.cluster.heal()
        self.deployment.close()

    @property
    def count(self) -> int:
        """How many slots have a worker, dead ones included."""
        return len(self.workers)

    def now_s(self) -> float:
        """Wall clock, as the fault log has it."""
        return time.time()

    @property
    def clock(self) -> Path:
        """The file that says how far the clock of the workers is off (``patches.clock``)."""
        return self.folder / "clock"

    def set_clock(self, off_s: float) -> None:
        """Put the clock of the workers off; in place, since they have the file mapped."""
        with self.clock.open("r+b", buffering=0) as file:
            file.write(struct.pack("d", off_s))

    def alive(self) -> list[int]:
        """Slots whose worker runs and is not frozen."""
        return [slot for slot, worker in enumerate(self.workers) if worker.alive and not worker.stopped]

    def measure(self, what: str, value: float) -> None:
        """Note a measured value; equal names are one series."""
        self.measured.setdefault(what, []).append(round(value, 3))

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something then, in the scenario's thread, during a ``wait``; at the latest when the rig settles."""
        self._later_count += 1
        heapq.heappush(self._later, (time.monotonic() + seconds, self._later_count, action))

    def begin(self) -> None:
        """The duration begins now; for scenarios that have something to set up first."""
        self.began_s = time.time()
        self._deadline_s = time.monotonic() + self.options.duration_s

    def goes_on(self) -> bool:
        """Whether the duration is not over."""
        return time.monotonic() < self._deadline_s

    @contextmanager
    def leg(self, seconds: float) -> Iterator[None]:
        """A part of the duration, for a scenario inside of another: ``goes_on`` until it is over."""
        whole_s = self._deadline_s
        self._deadline_s = min(whole_s, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._deadline_s = whole_s

    def fault(self, kind: str, target: object = "") -> None:
        """Note a fault that is about to be done."""
        self.faults.append(Fault(time.time(), kind, str(target)))

    def start(
        self,
        slot: int,
        *,
        bootstrap: str | None = None,
        patches: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> ChaosWorker:
        """Start a worker in a slot, a new one or in place of a dead one; it will be restarted in the same way.

        ``settings`` are SECTION__KEY=value. Does not wait until it is ready.
        """
        self._starts[slot] = {
            "bootstrap": bootstrap,
            "patches": patches,
            "environment": environment,
            **settings,
        }
        variables = {f"STREAM_INFER__{name}": value for name, value in settings.items()}
        variables |= environment or {}
        variables |= {
            "CHAOS_MANIFEST_TOPIC": self.topics.manifest,
            "CHAOS_PATCHES": ",".join((*self.options.patches, *patches)),
            "CHAOS_CLOCK": str(self.clock),
        }
        if self.options.proxied:
            bootstrap = bootstrap or self.cluster.network.servers
            for client in ("CONSUMER", "PRODUCER"):  # the name by which the network's rules know it
                variables[f"STREAM_INFER__KAFKA__{client}__CLIENT_ID"] = f"slot-{slot}.{client.lower()}"
        if bootstrap is not None:
            variables["STREAM_INFER__KAFKA__BOOTSTRAP_SERVERS"] = bootstrap
        if self.options.slots:
            variables.setdefault("STREAM_INFER__DELIVERY__SLOT", str(slot))
        start = Start(slot, variables)
        for hook in self.before_start:
            hook(start)
        log = self.folder / f"worker-{slot}-{self._started_count}.log"
        self._started_count += 1
        worker = ChaosWorker(self.deployment.config, log, start.environment, forked=self.options.forked)
        if slot < len(self.workers):
            assert not self.workers[slot].alive, f"slot {slot} has a worker"
            self.workers[slot] = worker
        else:
            self.workers.append(worker)
        return worker

    def restart(self, slot: int) -> ChaosWorker:
        """Start the worker of a slot again as it was started before."""
        return self.start(slot, **self._starts[slot])

    def wait(self, seconds: float) -> None:
        """Let time pass; workers that ended by themselves are restarted, as a supervisor would."""
        until = time.monotonic() + seconds
        while True:
            self.look()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_LOOK_S, left))

    def rest(self, seconds: float) -> None:
        """Let time pass between two faults, less of it where haste is asked for."""
        self.wait(seconds / self.options.haste)

    def look(self) -> None:
        """Take samples, and restart what ended by itself."""
        now = time.monotonic()
        if now - self._sampled_s >= _SAMPLE_EVERY_S:
            self._sampled_s = now
            self.samples += [s for w in self.workers if not w.stopped and (s := w.sample()) is not None]
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()
        for slot, worker in enumerate(self.workers):
            code = worker.process.poll()
            if code is None or code == -signal.SIGKILL or worker.pid in self._known_dead:
                continue  # kill -9 is the scenario's own doing
            self._known_dead.add(worker.pid)
            said = _said(code)
            if worker.pid in self.stopping:
                self._drained(worker, code)  # it was asked to; the scenario starts it again
                continue
            self.exits[said] += 1
            self.endings[f"{said}: {worker.last_words()}"] += 1
            assert self.exits[said] < _RESTARTS_MAX, f"workers end by themselves: {dict(self.exits)}"
            if code == StalledError.exit_code:
                self.stalls.append(worker.stack())
            self.later(_RESTART_AFTER_S, partial(self._again, slot, worker))

    def _drained(self, worker: ChaosWorker, code: int) -> None:
        said = f"drain {_said(code)}"
        self.exits[said] += 1
        if code not in _DRAINED:
            self.endings[f"{said}: {worker.last_words()}"] += 1

    def _again(self, slot: int, ended: ChaosWorker) -> None:
        """Restart what ended by itself, unless the scenario has done so."""
        if self.workers[slot] is ended:
            self.restart(slot)

    def settle(self) -> None:
        """Undo all faults, stop sending, wait until every event is committed. Raises TimeoutError."""
        self.closing.close()
        due, self._later = sorted(self._later), []
        for _, _, action in due:
            action()
        self.cluster.heal()
        for slot, worker in enumerate(self.workers[: self.options.workers]):
            worker.resume()
            worker.limit_files(None)
            if not worker.alive:
                self.restart(slot)
        self.ledger.go_on()
        self.ledger.finish()
        self.cluster.wait_whole(self.topics.names)
        self._wait_committed()

    def _wait_committed(self) -> None:
        """Until the committed offsets are the ends. Slowness may be the machine's: what counts is progress."""
        within_s = _MUTANT_PROGRESS_WITHIN_S if self.options.mutant else _PROGRESS_WITHIN_S
        best, since_s = -1, time.monotonic()
        while (state := self.progress())[0] != state[1]:
            if sum(state[0].values()) > best:
                best, since_s = sum(state[0].values()), time.monotonic()
            if time.monotonic() - since_s > within_s:
                raise TimeoutError(
                    f"nothing more is committed for {within_s:g} s: {state[0]} of {state[1]}; "
                    f"workers ended: {dict(self.exits)}"
                )
            self.wait(0.3)

    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """Committed offsets and ends of the input, by partition; no committed ones while they are in doubt."""
        places = [(self.topics.input, p) for p in range(self.options.partitions)]
        ends = {
            p: end for (_, p), end in offsets_of(self.cluster.servers, places, "read_uncommitted").items()
        }
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.servers,
                "group.id": self.deployment.app,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        try:
            found = consumer.committed([TopicPartition(*place) for place in places], 5)
            return {tp.partition: max(0, tp.offset) for tp in found}, ends
        except KafkaException:
            return {}, ends
        finally:
            consumer.close()

    def stop_workers(self) -> None:
        """SIGTERM to all, and wait; their exit codes are noted."""
        for worker in self.workers:
            worker.resume()
        for worker in self.workers:
            if worker.alive:
                self._drained(worker, worker.stop(60))

    def facts(self) -> dict[str, Any]:
        """What a report says of the set-up."""
        o = self.options
        return {
            "workers": o.workers,
            "partitions": o.partitions,
            "rate": o.rate,
            "poison": o.poison,
            "slots": o.slots,
            "settings": json.loads(json.dumps(self.deployment.settings)),
        }

    def _make_topics(self) -> None:
        """Brokers that have just been struck, on a slow machine, may need more time than the command gives them."""
        for attempt in range(_OPEN_ATTEMPTS):
            try:
                self.deployment.open()
                break
            except AssertionError:
                if attempt == _OPEN_ATTEMPTS - 1:
                    raise
        wanted = NewTopic(self.topics.manifest, 1, -1)
        admin = AdminClient({"bootstrap.servers": self.cluster.servers})
        admin.create_topics([wanted])[wanted.topic].result(120)

    def _wait_first_scores(self) -> None:
        deadline = time.monotonic() + 120
        while not self.live.parts:
            assert time.monotonic() < deadline, "no scores: " + "\n".join(
                w.text()[-1500:] for w in self.workers
            )
            self.wait(0.1)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else str(code)
