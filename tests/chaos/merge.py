"""Many reports in one file: what docs/reliability.md is written from. A failed run stays in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["compact", "merged", "written"]

_KEPT = (
    "scenario",
    "mutant",
    "protocol",
    "versions",
    "seed",
    "started_s",
    "took_s",
    "passed",
    "faults",
    "events",
    "exits",
    "measured",
    "violations",
)
_LONGEST_ERROR = 300
_FOLDER = re.compile(r"/\S*/(stream_infer|tests|load)/")
"""Where a tree lies is nobody's business."""


def merged(sources: Iterable[Path]) -> list[dict[str, Any]]:
    """Runs of folders of reports and of files made by ``written``, each once, oldest first.

    Left out is what never began: no event was sent and no fault struck, because the rig itself could not open.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for source in sources:
        for path in sorted(source.glob("*.json")) if source.is_dir() else [source]:
            read = json.loads(path.read_text("utf-8"))
            for run in read["runs"] if "runs" in read else [compact(read)]:
                if not run["events"]["sent"] and not run["faults"]:
                    continue
                found[run["scenario"], run["protocol"], run["seed"], run["started_s"]] = run
    return sorted(found.values(), key=lambda run: run["started_s"])


def compact(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one report; of an error, its last line; of a violation, an example."""
    run = {name: report[name] for name in _KEPT}
    lines = [line for line in report["error"].splitlines() if line.strip()]
    if "markers_left_out" in report:  # reports have not always said so
        run["markers_left_out"] = report["markers_left_out"]
    run["error"] = _FOLDER.sub(r"\1/", lines[-1])[:_LONGEST_ERROR] if lines else ""
    run["examples"] = {check: examples[:1] for check, examples in report["examples"].items()}
    return run


def written(runs: list[dict[str, Any]]) -> str:
    """The file: a run per line, so that versions of it can be compared."""
    lines = ",\n".join(json.dumps(run, sort_keys=True) for run in runs)
    return f'{{"runs": [\n{lines}\n]}}\n'
