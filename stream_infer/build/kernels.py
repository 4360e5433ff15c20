"""The kernels of a worker, compiled in several processes: ``python -m stream_infer.build.kernels PART`` is one of them.

A process compiles one function at a time, and a start on a machine that has compiled nothing yet would wait for a
hundred. What the processes leave on disk is what the worker then reads. What one of them does not get done is compiled
when it is first called.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encode_kernel import encode_rows
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.kernel import run_program
from stream_infer.avro.source import SingleSchema
from stream_infer.config import Config
from stream_infer.confine import confine
from stream_infer.delivery.lane import Lane
from stream_infer.delivery.native.take_kernel import copy_records
from stream_infer.kernel import uncompiled
from stream_infer.log import get_logger
from stream_infer.rejects.records import RejectRecords
from stream_infer.warm import made_up
from stream_infer.windows.judge_kernel import judge_rows
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.table import EntityTable

__all__ = ["compile_kernels"]

_LOG = get_logger(__name__)
_COMMAND = (sys.executable, "-m", "stream_infer.build.kernels")
_WITHIN_S = 300.0


def compile_kernels(config: Config) -> None:
    """Have what is not on disk yet compiled; with several parts of it and several cores, in a process each."""
    native = config.kafka.lane != "ordinary"
    missing = [
        name for name, (_, kernel) in _PARTS.items() if uncompiled(kernel) and (native or name != "lane")
    ]
    if len(missing) < 2 or len(os.sched_getaffinity(0)) < 2:
        return
    began_at = time.monotonic()
    _LOG.info("compiling, once on a machine", parts=missing)
    children = [subprocess.Popen([*_COMMAND, name], stderr=subprocess.DEVNULL) for name in missing]  # noqa: S603
    try:
        for child in children:
            child.wait(max(0.0, began_at + _WITHIN_S - time.monotonic()))
    except subprocess.TimeoutExpired:
        _LOG.warning("compiling takes long, the rest is compiled here")
    finally:
        for child in children:
            child.kill()
            child.wait()
    _LOG.info("compiled", took_s=time.monotonic() - began_at)


def _decode() -> None:
    Decoder(SingleSchema("{}"), Fields("features", 1, None, None, None)).warm_up()


def _window() -> None:
    one = np.ones((1, 1))
    layout = Layout(window=2, features=1, terms=1, smoothing=(1.0,), clip=(1.0,))
    profiles = Profiles((), one, one, np.ones((1, 1, 1), np.float32), one, np.ones(1))
    EntityTable(layout, profiles).warm_up()


def _publish() -> None:
    ScoredEncoder(None, ("feature",), "", "", "").encode(*made_up(1))
    RejectRecords("", "", framed=True).warm_up()


def _lane() -> None:
    Lane.choose("auto")


_PARTS: dict[str, tuple[Callable[[], None], Callable[..., object]]] = {
    "decode": (_decode, run_program),
    "window": (_window, judge_rows),
    "publish": (_publish, encode_rows),
    "lane": (_lane, copy_records),
}
"""What compiles a part, and a kernel of it: where that one is on disk, so are the others."""

if __name__ == "__main__":
    confine()
    _PARTS[sys.argv[1]][0]()
