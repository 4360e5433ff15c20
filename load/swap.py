"""What a swap of the model costs: how late scores are around it, and what memory it leaves behind."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from load.check import check
from load.paced import course_of
from load.stand import Run, Stand
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.models.artifact import Artifact

__all__ = ["Memory", "Swapped", "memory", "swapped"]

_SETTINGS = {"MODEL__POLL_INTERVAL_S": "0.1"}
_ALIAS = "current"
_AFTER_S = 1.0
_WARM_S = 2.0
_SWAP_S = 60.0
_LOOK_S = 0.02
_MIB = 2**20


@dataclass(frozen=True)
class Swapped:
    """One run: latencies in ms of events meant for the time of a swap, and of all others.

    That time goes from the moment the alias was moved to a second after the worker said that the version scores:
    fetching, verifying, rehearsing, opening, warming up and probing are in it.
    """

    rate: float
    swaps: int
    took_s: float
    around_count: int
    around_ms: tuple[float, float, float]
    apart_ms: tuple[float, float, float]

    def __str__(self) -> str:
        texts = [
            "p50 {:.0f}, p99 {:.0f}, most {:.0f} ms".format(*one) for one in (self.around_ms, self.apart_ms)
        ]
        return (
            f"{self.rate:,.0f} events/s, {self.swaps} swaps (median {self.took_s:.2f} s from alias to use): "
            f"{self.around_count:,} events around them {texts[0]}; all others {texts[1]}"
        )


@dataclass(frozen=True)
class Memory:
    """Resident size in MiB: the least of some swaps early on, and of the last ones."""

    swaps: int
    early_mib: float
    late_mib: float

    def __str__(self) -> str:
        return f"{self.swaps} swaps: {self.early_mib:.0f} MiB early on, {self.late_mib:.0f} MiB at the end"


@dataclass
class _Swaps:
    """Moves the alias to one new version after the other, and notes when: (moved, in use) in epoch seconds."""

    versions: _Versions
    run: Run
    done: list[tuple[float, float]] = field(default_factory=list)

    def once(self) -> None:
        """One swap. Raises RuntimeError when it does not come about."""
        version = self.versions.another()
        moved = time.time()
        self.versions.registry.point(_ALIAS, version)
        while self.run.facts().get("version") != version:
            if time.time() - moved > _SWAP_S:
                raise RuntimeError(f"version {version} was not taken:\n{self.run.text()[-3000:]}")
            time.sleep(_LOOK_S)
        self.done.append((moved, time.time()))

    @contextmanager
    def going_on(self, count: int, every_s: float) -> Iterator[None]:
        """So many swaps while something else goes on."""
        failed: list[Exception] = []

        def loop() -> None:
            began_at = time.time()
            try:
                for number in range(count):
                    time.sleep(max(0.0, began_at + _WARM_S + number * every_s - time.time()))
                    self.once()
            except Exception as error:  # noqa: BLE001 - told where the thread is joined
                failed.append(error)

        thread = threading.Thread(target=loop)
        thread.start()
        yield
        thread.join()
        if failed:
            raise failed[0]


def swapped(stand: Stand, rate: float, swaps: int, every_s: float) -> Swapped:
    """Send at a rate while the model is swapped, receive every score, and check each."""
    versions = _Versions(stand)
    topic = stand.topic("swap", source=versions.source)
    run = stand.worker(topic, **_SETTINGS)
    run.wait_ready()
    going = _Swaps(versions, run)
    with going.going_on(swaps, every_s):
        course = course_of(stand, topic, rate, _WARM_S + (swaps + 1) * every_s)
    run.stop()
    check(stand, topic)
    late, intended = course.late_ms, course.intended_ms
    around = np.zeros(len(late), np.bool_)
    for moved, in_use in going.done:
        around |= (intended >= moved * 1000) & (intended <= (in_use + _AFTER_S) * 1000)
    warm = intended >= intended.min() + _WARM_S * 1000
    took_s = float(np.median([in_use - moved for moved, in_use in going.done]))
    return Swapped(
        rate, swaps, took_s, int(around.sum()), _figures(late[around & warm]), _figures(late[~around & warm])
    )


def memory(stand: Stand, swaps: int) -> Memory:
    """Swap again and again once the worker has seen some events, and see what stays in memory."""
    versions = _Versions(stand)
    topic = stand.topic("memory", source=versions.source)
    run = stand.worker(topic, **_SETTINGS)
    run.wait_ready()
    stand.fill(topic, 20_000)
    going, sizes = _Swaps(versions, run), []
    for _ in range(swaps):
        going.once()
        sizes.append(run.rss_bytes() / _MIB)
    run.stop()
    fifth = max(1, swaps // 5)
    return Memory(swaps, min(sizes[fifth : 2 * fifth]), min(sizes[-fifth:]))


class _Versions:
    """Versions of the stand's model that give the same scores, so that every one can be checked.

    Each is another file, as other weights would be: none is taken for one that was rehearsed before.
    """

    def __init__(self, stand: Stand) -> None:
        folder = Path(tempfile.mkdtemp(prefix="versions-", dir=stand.folder))
        self.registry = DirectoryRegistry(folder)
        self.source = f"{folder}@{_ALIAS}"
        self._folder = stand.folder
        self._artifact = Artifact.load(stand.model)
        self._count = 0
        self.registry.point(_ALIAS, self.another())

    def another(self) -> str:
        """Make and register a new version."""
        self._count += 1
        version = str(self._count)
        model = onnx.load_from_string(self._artifact.model)
        model.doc_string = f"{version} of {time.time_ns()}"
        manifest = self._artifact.manifest.model_copy(update={"version": version})
        own = self._folder / "version"
        Artifact.of(manifest, model.SerializeToString(), self._artifact.profiles).save(own)
        self.registry.add(own, version, {})
        return version


def _figures(late: NDArray[np.float64]) -> tuple[float, float, float]:
    """p50, p99 and the most."""
    p50, p99, most = np.percentile(late, [50, 99, 100])
    return float(p50), float(p99), float(most)
