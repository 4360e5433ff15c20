"""The program ``python -m stream_infer.models.rehearsal_child``: it opens a model before rehearsal.py's process does.

In: a line of JSON, then the bytes of the model file. Out: ``{}`` if the model opens and scores within the bounds, else
``{"refused": why}``. No words at all: it was killed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from stream_infer.confine import confine
from stream_infer.errors import ModelError
from stream_infer.models.loading import runtime_of
from stream_infer.models.model import warm_up_model
from stream_infer.models.placement import Placement
from stream_infer.windows.layout import Layout

__all__ = ["main"]

_BATCHES = (1, 256)
_SPARE_BYTES = 1 << 30
"""Address space, most of it never touched: stacks and arenas of threads, an arena that doubles."""
_COPIES = 8
"""Of the weights: as read, parsed, in the graph, folded, packed for products."""


def main() -> None:
    """Open the model and say so."""
    confine()
    told = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    answer = {}
    try:
        runtime = runtime_of(told["file"])
        _bound(told["memory_bytes"] + _COPIES * len(content), told["cpu_s"])
        layout = Layout(**told["layout"])
        placement = Placement(threads=told["threads"], memory_bytes=told["memory_bytes"])
        model = runtime.open(content, tuple(told["identity"]), layout, placement)
        warm_up_model(model, _BATCHES)
    except ModelError as error:
        answer["refused"] = str(error)
    sys.stdout.write(json.dumps(answer))


def _bound(bytes_more: int, cpu_s: int) -> None:
    """From here on: so much more address space, and so much more processor time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    space = pages * os.sysconf("SC_PAGE_SIZE") + bytes_more + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


if __name__ == "__main__":
    main()
