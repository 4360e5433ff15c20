"""The kernels of a worker, compiled side by side: ``python -m stream_infer.build.kernels PART ...`` does that.

A process compiles one function at a time, and a start on a machine that has compiled nothing yet would wait for all. So
a process of its own loads what compiling takes and becomes as many as there are cores, which take part after part. What
they leave on disk is what the worker then reads. What they do not get done is compiled when it is first called.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numba
import numpy as np

from stream_infer.assignment import Assignment
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encode_kernel import encode_rows
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.kernel import run_program
from stream_infer.avro.source import SingleSchema
from stream_infer.confine import confine
from stream_infer.delivery.lane import Lane
from stream_infer.delivery.native.take_kernel import copy_records
from stream_infer.kernel import given, uncompiled
from stream_infer.log import get_logger
from stream_infer.made_up import made_up
from stream_infer.records import Text
from stream_infer.rejects.kernels import make_headers
from stream_infer.rejects.records import RejectRecords
from stream_infer.windows.index import KeyIndex
from stream_infer.windows.judge_kernel import judge_rows
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.push_kernel import take_dirty, unfit_feature
from stream_infer.windows.table import EntityTable
from stream_infer.windows.undo_kernels import put_back

if TYPE_CHECKING:
    # Not for the processes that compile: it takes a quarter of a second.
    from stream_infer.config import Config

__all__ = ["compiling"]

_LOG = get_logger(__name__)
_WITHIN_S = 300.0


@contextmanager
def compiling(config: Config) -> Iterator[None]:
    """Have what is not on disk yet compiled beside the block, by all cores; ends when both are done."""
    native = config.kafka.lane != "ordinary"
    missing = [
        name for name, (_, kernel) in _PARTS.items() if uncompiled(kernel) and (native or name != "lane")
    ]
    if len(missing) < 2 or _cores() < 2:
        yield
        return
    began_at = time.monotonic()
    _LOG.info("compiling, once on a machine", parts=missing)
    child = subprocess.Popen([sys.executable, "-m", __name__, *missing], stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        yield
        child.wait(max(0.0, began_at + _WITHIN_S - time.monotonic()))
        _LOG.info("compiled", took_s=time.monotonic() - began_at)
    except subprocess.TimeoutExpired:
        _LOG.warning("compiling takes long, the rest is compiled here")
    finally:
        child.kill()
        child.wait()


def _compile_all(names: list[str]) -> None:
    gc.disable()  # compiling makes much, and drops little of it before its end
    # What numba loads for its first function is loaded once, for all processes.
    numba.njit("i8(i8)")(lambda x: x)
    with ProcessPoolExecutor(_cores(), get_context("fork"), confine) as pool:
        wait([pool.submit(_compile, name) for name in names])


def _compile(name: str) -> None:
    _PARTS[name][0]()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _decode() -> None:
    Decoder(SingleSchema("{}"), Fields("features", 1, None, None, None)).warm_up()


def _push() -> None:
    table, zero = _table(), np.zeros(1, np.int64)
    unfit_feature(given(np.zeros((1, 1)), np.float64), True, zero.copy(), np.zeros(1, np.uint8))  # noqa: FBT003
    table.push(zero, np.zeros((1, 1)), zero, zero.astype(np.int32), zero)
    table.flush(0, 1, 1, 1)


def _judge() -> None:
    _table().judge(np.zeros(1, np.int64), np.zeros(1, np.bool_), np.zeros((1, 1, 1), np.float32))


def _table() -> EntityTable:
    one = np.ones((1, 1))
    layout = Layout(window=2, features=1, terms=1, smoothing=(1.0,), clip=(1.0,))
    profiles = Profiles((), one, one, np.ones((1, 1, 1), np.float32), one, np.ones(1))
    return EntityTable(layout, profiles)


def _index() -> None:
    KeyIndex.warm_up()
    table = _table()
    table.commit()
    table.locate(np.zeros(1, np.int32), Text.of([b"warm"]))
    table.undo()


def _lane() -> None:
    Lane.choose("auto")


def _encode() -> None:
    batch, columns, scores = made_up(1)
    Assignment().admit(batch)
    ScoredEncoder(None, ("feature",), "", "", "").encode(batch, columns, scores)


def _reject() -> None:
    RejectRecords("", "", framed=True).warm_up()


_PARTS: dict[str, tuple[Callable[[], None], Callable[..., object]]] = {
    "decode": (_decode, run_program),
    "lane": (_lane, copy_records),
    "push": (_push, take_dirty),
    "index": (_index, put_back),
    "judge": (_judge, judge_rows),
    "encode": (_encode, encode_rows),
    "reject": (_reject, make_headers),
}
"""What compiles a part, and its last kernel: where that one is on disk, so are the others. The longest come first."""

if __name__ == "__main__":
    confine()
    _compile_all(sys.argv[1:])
