"""What a run says of itself, as JSON."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Self

import confluent_kafka

from tests.chaos.broker_logs import told
from tests.chaos.checker import Findings
from tests.chaos.evidence import REJECTED, SCORED, UNTOLD, Evidence
from tests.chaos.process import ROOT
from tests.chaos.rig import Rig

__all__ = ["Report"]


@dataclass
class Report:
    """One run. ``error`` is what kept it from its end, if anything; times are wall clock seconds.

    ``endings`` are the last words of workers that ended by themselves. ``markers_left_out`` are partitions that the
    brokers completed transactions without, and how often (``broker_logs``): what a run lost or doubled there is theirs.
    """

    scenario: str
    seed: int
    protocol: str
    started_s: float
    took_s: float
    duration_s: float
    versions: dict[str, str]
    rig: dict[str, Any]
    faults: dict[str, int]
    fault_log: list[tuple[float, str, str]]
    events: dict[str, int]
    exits: dict[str, int]
    violations: dict[str, int]
    examples: dict[str, list[str]]
    error: str
    measured: dict[str, list[float]] = field(default_factory=dict)
    mutant: str = ""
    stalls: list[str] = field(default_factory=list)
    endings: dict[str, int] = field(default_factory=dict)
    markers_left_out: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the run came to its end and nothing was found."""
        return not self.violations and not self.error

    @classmethod
    def of(
        cls, name: str, rig: Rig, began_s: float, findings: Findings, evidence: Evidence | None, error: str
    ) -> Self:
        """From a rig after its run."""
        log = [(round(f.at_s - rig.began_s, 3), f.kind, f.target) for f in rig.faults]
        ended_s = rig.now_s()
        return cls(
            name,
            rig.options.seed,
            rig.options.protocol,
            round(began_s, 3),
            round(ended_s - began_s, 1),
            rig.options.duration_s,
            _versions(rig),
            rig.facts(),
            dict(Counter(f.kind for f in rig.faults)),
            log,
            _events(rig, evidence),
            dict(rig.exits),
            findings.counts,
            findings.examples,
            error,
            rig.measured,
            rig.options.mutant,
            rig.stalls,
            dict(rig.endings),
            rig.broker_logs.markers_left_out(),
        )

    def as_json(self) -> dict[str, Any]:
        """For json.dumps."""
        return {"passed": self.passed, **asdict(self)}

    def line(self) -> str:
        """The run in a line."""
        found = f"FAILED {self.violations} {self.error[-400:]}" if not self.passed else "passed"
        found += f" ({told(self.markers_left_out)})" if self.markers_left_out else ""
        events = self.events
        return (
            f"{found}: {sum(self.faults.values())} faults, {events['acked']} acked, {events['scored']} scored, "
            f"{events['rejected']} rejected, {events['transactions']} transactions, exits {self.exits}, "
            f"{self.took_s:g} s"
        )


def _events(rig: Rig, evidence: Evidence | None) -> dict[str, int]:
    counts = {
        "sent": rig.ledger.sent_count + rig.ledger.injected_count,
        "acked": len(rig.ledger.acked.number),
        "acked_at_an_untold_place": rig.ledger.acked.offset.count(UNTOLD),
        "indeterminate": len(rig.ledger.indeterminate),
        "scored": 0,
        "rejected": 0,
        "transactions": 0,
        "readers_replaced": rig.live.replaced_count,
    }
    if evidence is not None:
        counts["scored"] = int((evidence.fresh.kind == SCORED).sum())
        counts["rejected"] = int((evidence.fresh.kind == REJECTED).sum())
        counts["transactions"] = len(evidence.manifests)
    return counts


def _commit() -> str:
    """Of the tree under test; empty outside of a repository."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _versions(rig: Rig) -> dict[str, str]:
    return {
        "stream-infer": version("stream-infer"),
        "commit": _commit(),
        "kafka": rig.cluster.version,
        "lane": rig.options.lane,
        "confluent-kafka": version("confluent-kafka"),
        "librdkafka": confluent_kafka.libversion()[0],
    }
