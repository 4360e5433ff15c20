"""docs/reliability.md, written from docs/reliability.json."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.broker_logs import told
from tests.chaos.checker import CHECKS
from tests.chaos.mutants import MUTANTS
from tests.chaos.process import ROOT

__all__ = ["PAGE", "SOURCE", "page"]

PAGE = ROOT / "docs" / "reliability.md"
SOURCE = ROOT / "docs" / "reliability.json"
_STALLED = "8"
_HARM = {"lost", "doubled", "torn"}
_Run = dict[str, Any]


def page(source: Path = SOURCE) -> str:
    """The whole page."""
    everything = json.loads(source.read_text("utf-8"))["runs"]
    runs = [run for run in everything if not run["mutant"]]
    mutants = [run for run in everything if run["mutant"]]
    sections = (_HEAD, _tested(runs), _faults(runs), _failed(runs), _recovery(runs), _mutants(mutants), _TAIL)
    return "\n".join(sections)


MENDED = {
    861715599: "the rig's fault: on a busy machine it gave the workers three minutes to come to the end; now they have "
    "as long as they get on. Whether they did is not known",
    1288050481: "mended: a record that was held while a rebalance took its partition back came before rows that were "
    "then skipped (ordinary lane); the same seed has passed since",
    1981726537: "no leak was found: what the heap has in use stays flat, repeated and over 120 producers replaced in "
    "turn; what grows is free memory that malloc keeps for each thread, and stays small with MALLOC_ARENA_MAX=1",
    1758229251: "not explained for certain: 53 and 56 producers were replaced in the two processes, whose threads and "
    "descriptors stayed flat; replaced alone, 120 in turn with 300 records open in each leave 3 MiB and no thread, so "
    "it is not they. Threads have shared two of malloc's arenas since, and the next soak stayed flat",
    761376904: "the rig's fault: the client acknowledges an event whose answer was lost when a later one is answered, "
    "without an offset, which the ledger took for 0; such an event is looked for by its number now",
}
"""What became of a failed run, by its seed."""

_AIMS = {
    "a worker joins: delay of events, p99": "3",
    "a worker leaves: delay of events, p99": "3",
    "broker kill -9": "10",
    "planned restart (SIGTERM)": "2",
    "worker kill -9, another process takes over": "12",
    "worker kill -9, the same slot starts again": "5",
}
"""Seconds that are aimed at, by fault."""

_BESIDE = {
    "63551bb": "a soak of the same rig and other work ran beside it on the same two cores, from the 93rd second of "
    "`consumer` on and all through `classic`: a load of 20 to 31, at which a start takes five seconds (`classic` "
    "sessions are six), and the brokers twelve and more until they have coordinators again",
    "b27c7b1": "a broker was killed as soon as results were back, often before the one killed last was in step again: "
    "of three copies too few were left to write. Later runs wait for that",
    "521d286": "as of b27c7b1, with tests and other runs beside it, a load of 15",
}
"""What was going on beside the runs of a commit, where that says more of the machine than of the worker."""

_HEAD = """# Reliability

<!-- Written by `python -m tests.chaos page` from docs/reliability.json. Do not edit. -->

## What is promised

With `delivery.mode = "exactly_once"` (the default), on brokers that keep what they acknowledged:

- every event that the brokers took is scored or rejected exactly once, as `isolation.level = read_committed` reads it;
- results are in the order of the events, partition by partition;
- a transaction is seen as a whole or not at all, and input offsets are part of it;
- a score does not depend on faults: it is that of a run in which nothing ever happened;
- a worker that cannot go on ends with an exit code of its own, and nothing is lost when it does.

[delivery.md](delivery.md) says how. This page says how it was tested.

## How it is tested

A run has three brokers (three copies of each partition, two must be in step), a group of workers, a producer that
notes which events the brokers acknowledged and where, poison among the events, and a reader that stays connected
through all faults. Faults strike for the duration of a run. Then everything is mended, the workers finish, a second
reader reads everything again, and the run is judged. A run that does not come to its quiet end has failed.

"""

_TAIL = """## What is not promised

- Readers that do not set `isolation.level = read_committed` see results of aborted transactions.
- `delivery.mode = "at_least_once"` repeats results after a crash, and promises no order then.
- What brokers lose (a cluster that elects leaders out of step, a lost disk without a copy, a transaction marker that is
  left out) is lost; the runs here find the acknowledged events in the input before they look at the results.
- Side effects outside of Kafka (metrics, logs) are counted again when work is repeated.
- The recovery times hold for the time-outs that the product comes with and the machine they were measured on. With the
  protocol `consumer` the session time-out is the group's at the brokers; `stream-infer topics create` sets it.

## To repeat it

    make chaos ARGS="--minutes 60"          # rounds over all scenarios, reports into chaos-reports/
    python -m tests.chaos failpoints        # every failpoint 20 times with each protocol
    python -m tests.chaos mutants           # the wrong workers
    make soak ARGS="--minutes 60"           # one long run of everything, memory must stay flat
    python -m tests.chaos run NAME --seed N --protocol classic --duration 60
    python -m tests.chaos merge docs/reliability.json chaos-reports -o docs/reliability.json
    python -m tests.chaos page
"""


def _tested(runs: list[_Run]) -> str:
    checks = "\n".join(f"- {name}: {text}" for name, text in CHECKS.items())
    lines = [checks, "", _span(runs), ""]
    by: dict[tuple[str, str, str], list[_Run]] = defaultdict(list)
    for run in runs:
        by[run["versions"]["kafka"], run["protocol"], run["versions"].get("lane", "auto")].append(run)
    rows = [
        _totals(f"{kafka}, `{protocol}`, `{lane}`", group)
        for (kafka, protocol, lane), group in sorted(by.items())
    ]
    head = (
        "Kafka, protocol, lane",
        "runs",
        "faults",
        "events acknowledged",
        "transactions",
        "lost",
        "doubled",
        "torn",
        "other",
        "failed runs",
    )
    table = _table(head, [*rows, _totals("all", runs)])
    return "\n".join([*lines, table, *_since(runs), _brokers(runs)])


def _since(runs: list[_Run]) -> list[str]:
    """What followed the last run that did harm; nothing where none ever did."""
    harmful = [number for number, run in enumerate(runs) if _HARM & run["violations"].keys()]
    if not harmful:
        return []
    last, after = runs[harmful[-1]], runs[harmful[-1] + 1 :]
    _, count, faults, events, *_ = _totals("", after)
    return [
        f"The last run that lost, doubled or tore anything is that of seed {last['seed']}, below. Runs since then: "
        f"{count}, with {faults} faults and {events} events, none of which was.\n"
    ]


def _brokers(runs: list[_Run]) -> str:
    """Of the fault of the brokers' own; reports have not always said of it."""
    searched = [run for run in runs if "markers_left_out" in run]
    found = [run for run in searched if run["markers_left_out"]]
    away = {name: sum(map(_all_away, group)) for name, group in (("all", searched), ("found", found))}
    harmed = sum(bool(_HARM & run["violations"].keys()) for run in found)
    return (
        "A transaction coordinator that finds no leader for a partition leaves its marker out there (KAFKA-20734, see "
        "[delivery.md](delivery.md)); where all brokers are away at once, three copies do not prevent it. The "
        f"brokers' logs say so, and were searched in {len(searched)} runs, {away['all']} of them with all brokers away "
        f"at once: it was found in {len(found)} ({away['found']} of those), and something was lost, doubled or torn in "
        f"{harmed}. Such a run fails, and its row among the failed ones names the partitions.\n"
    )


def _all_away(run: _Run) -> bool:
    return any("of all brokers" in kind for kind in run["faults"])


def _span(runs: list[_Run]) -> str:
    if not runs:
        return "There are no runs yet."
    days = [datetime.fromtimestamp(run["started_s"], UTC).strftime("%Y-%m-%d") for run in (runs[0], runs[-1])]
    versions = {
        name: sorted({run["versions"].get(name, "") for run in runs})
        for name in ("stream-infer", "confluent-kafka", "librdkafka")
    }
    hours = sum(run["took_s"] for run in runs) / 3600
    named = ", ".join(f"{name} {'/'.join(found)}" for name, found in versions.items())
    commits = list(dict.fromkeys(run["versions"].get("commit", "") for run in runs))
    when = days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"
    return (
        f"{len(runs)} runs, {hours:.1f} hours, {when}; {named}; commits {', '.join(filter(None, commits))}."
    )


def _totals(name: str, runs: list[_Run]) -> tuple[str, ...]:
    found: Counter[str] = Counter()
    for run in runs:
        found.update(run["violations"])
    other = sum(count for check, count in found.items() if check not in _HARM)
    numbers = (
        len(runs),
        sum(sum(run["faults"].values()) for run in runs),
        sum(run["events"]["acked"] for run in runs),
        sum(run["events"]["transactions"] for run in runs),
        found["lost"],
        found["doubled"],
        found["torn"],
        other,
        sum(not run["passed"] for run in runs),
    )
    return (name, *(f"{number:,}" for number in numbers))


def _faults(runs: list[_Run]) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for kind, count in run["faults"].items():
            counts[kind][run["protocol"]] += count
    rows = [
        (kind, *(f"{of[protocol]:,}" for protocol in ("classic", "consumer")), f"{of.total():,}")
        for kind, of in sorted(counts.items())
    ]
    exits: Counter[str] = Counter()
    for run in runs:
        exits.update({code: count for code, count in run["exits"].items() if not code.startswith("drain")})
    faults = max(1, sum(of.total() for of in counts.values()))
    said = ", ".join(f"{count} with {code}" for code, count in sorted(exits.items())) or "none"
    stalled = f"{exits[_STALLED]} times ({100 * exits[_STALLED] / faults:.2f} % of all faults)"
    return (
        "## Faults\n\n"
        + _table(("fault", "classic", "consumer", "all"), rows)
        + f"\nWorkers that ended by themselves and were started again, by exit code: {said}. "
        + f"The watchdog (exit code {_STALLED}) ended a worker {stalled}.\n"
    )


def _failed(runs: list[_Run]) -> str:
    rows = [
        (
            run["scenario"],
            run["protocol"],
            run["versions"]["kafka"],
            run["versions"].get("commit", ""),
            str(run["seed"]),
            _cell(_why(run)),
        )
        for run in runs
        if not run["passed"]
    ]
    head = ("scenario", "protocol", "Kafka", "commit", "seed", "what was found")
    return "## Runs that failed\n\n" + (_table(head, rows) if rows else "None.\n")


def _why(run: _Run) -> str:
    found = [
        f"{check}: {count} ({'; '.join(run['examples'].get(check, []))})"
        for check, count in run["violations"].items()
    ]
    blamed = told(run["markers_left_out"]) if run.get("markers_left_out") else ""
    return "; ".join([*found, *filter(None, [run["error"], blamed, MENDED.get(run["seed"], "")])])


def _recovery(runs: list[_Run]) -> str:
    series: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    for run in runs:
        commit = run["versions"].get("commit", "")
        for name, values in run["measured"].items():
            series[name, run["protocol"]].setdefault(commit, []).extend(values)
    text = (
        "## Recovery times\n\nIn seconds, at 1,000 events a second, three workers, six partitions: the longest time "
        "without a new result in any partition, as a read_committed reader sees it (scenarios `recovery` and "
        "`recovery-brokers`). Workers change, so what holds is the newest commit that a fault was measured with. Those "
        "of 329036b, 6ac474f and da0fcc6 had the brokers' files in memory (`TMPDIR`): with files on the disk results "
        "stayed away for up to 41 s after a broker's kill.\n\n"
    )
    if not series:
        return text + "Not measured yet.\n"
    # Runs come in the order of time and dicts keep it: of one fault, the newest commit is last.
    newest, earlier = [], []
    for (fault, protocol), by in sorted(series.items()):
        *old, (commit, values) = by.items()
        newest.append((fault, protocol, commit, *_quantiles(values), _AIMS.get(fault, "")))
        earlier += [(fault, protocol, commit, *_quantiles(values)) for commit, values in old]
    head = ("fault", "protocol", "commit", "times", "p50", "p95", "max")
    beside = "".join(
        f"\nOf {commit}: {what}.\n"
        for commit, what in _BESIDE.items()
        if commit in {row[2] for row in (*newest, *earlier)}
    )
    folded = f"\n<details><summary>Earlier commits</summary>\n\n{_table(head, earlier)}\n</details>\n"
    return text + _table((*head, "aim, p95"), newest) + (folded if earlier else "") + beside


def _quantiles(values: list[float]) -> tuple[str, ...]:
    return (str(len(values)), *(f"{np.quantile(values, q):.2f}" for q in (0.5, 0.95, 1.0)))


def _mutants(runs: list[_Run]) -> str:
    by: dict[str, list[_Run]] = defaultdict(list)
    for run in runs:
        by[run["mutant"]].append(run)
    rows = [_mutant(name, of) for name, of in sorted(by.items())]
    caught = sum(row[-1] == "yes" for row in rows)
    text = (
        "## Mutants\n\nA rig that finds nothing proves nothing. Each of these workers is wrong on purpose, by a patch "
        f"that the rig applies to the running code. {caught} of {len(rows)} are caught.\n\n"
    )
    return text + (
        _table(("wrong worker", "scenario", "runs", "found", "caught"), rows)
        if rows
        else "None has run yet.\n"
    )


def _mutant(name: str, runs: Sequence[_Run]) -> tuple[str, ...]:
    found: Counter[str] = Counter()
    for run in runs:
        found.update(run["violations"])
    scenarios = ", ".join(sorted({run["scenario"] for run in runs}))
    said = ", ".join(f"{check} ({count:,})" for check, count in found.most_common())
    purpose = f"{name}: {MUTANTS[name].purpose}" if name in MUTANTS else name
    wanted = MUTANTS[name].finds if name in MUTANTS else set(CHECKS)
    return (_cell(purpose), scenarios, str(len(runs)), said, "yes" if wanted & found.keys() else "NO")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    aligned: Callable[[int], str] = lambda column: "---" if column == 0 else "---:"  # noqa: E731
    lines = [head, [aligned(column) for column in range(len(head))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
