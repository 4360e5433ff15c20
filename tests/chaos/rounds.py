"""The long run: all scenarios and protocols, in a new order each round, until the time is over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from stream_infer.embedded.versions import group_protocols
from tests.chaos.cluster import Cluster
from tests.chaos.report import Report
from tests.chaos.run import run_scenario
from tests.chaos.scenario import load_all
from tests.chaos.scenarios_relay import legs

__all__ = ["LANES", "Rounds", "all_rounds"]

LANES = ("native", "ordinary")


@dataclass(frozen=True)
class Rounds:
    """Which scenarios, for how long each, on which versions of Kafka and lanes; ``out`` collects the reports.

    ``duration_s`` is multiplied by the weight of the scenario. Each run draws its lane.
    """

    names: Sequence[str]
    versions: Sequence[str]
    lanes: Sequence[str]
    protocols: Sequence[str]
    duration_s: float
    out: Path
    model: Path
    say: Callable[[str], None] = print

    def run(self, minutes: float) -> list[Report]:
        """Run until the time is over; the run that has begun by then is finished. A cluster serves one round."""
        until, reports = time.monotonic() + 60 * minutes, []
        order = random.SystemRandom()
        while True:
            for version in self.versions:
                for report in self._round(version, order):
                    reports.append(report)
                    if time.monotonic() > until:
                        return reports

    def _round(self, version: str, order: Random) -> Iterator[Report]:
        protocols = [protocol for protocol in group_protocols(version) if protocol in self.protocols]
        runs = [(name, protocol) for name in self.names for protocol in protocols]
        order.shuffle(runs)
        while runs:
            with Cluster(self.say, version) as cluster:
                while runs:
                    name, protocol = runs.pop()
                    report = run_scenario(
                        name,
                        cluster=cluster,
                        model=self.model,
                        seed=order.randrange(1 << 31),
                        protocol=protocol,
                        duration_s=self.duration_s * load_all()[name].weight,
                        out=self.out,
                        say=self.say,
                        lane=order.choice(self.lanes),
                    )
                    yield report
                    if report.error:
                        break  # a new cluster: this one may be the reason


def all_rounds() -> list[str]:
    """Names of the scenarios of a round; those that a relay plays come in no other way."""
    played = {found.name for found in legs()}
    return [name for name, found in load_all().items() if found.rounds and name not in played]
