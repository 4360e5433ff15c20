"""A sandbox program with stages of its own: payloads say what becomes of the process. See test_quarantine.py."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.quarantine.trial import Trial
from stream_infer.records import Batch, Columns, Text

__all__: list[str] = []


class Decoder:
    """The entity is the payload; ``kill-decode`` in it kills here."""

    def decode(self, batch: Batch) -> Any:
        texts = [value or b"" for value in batch.values]
        if any(b"kill-decode" in text for text in texts):
            os.abort()
        count = len(batch)
        columns = Columns(
            np.arange(count), Text.of(texts), None, np.zeros(count, np.int64), np.zeros((count, 1))
        )
        return SimpleNamespace(columns=columns)


class Table:
    """Keeps the state records that it was sent."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes | None] = {}

    def drop(self, partition: int) -> None:
        self.state.clear()

    def load(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        self.state.update(zip(keys, values, strict=True))
        return 0


class Scorer:
    """What is in the payload, or in the state of its entity, is done."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def fresh(self, columns: Columns, partition: Any, offset: Any) -> NDArray[np.bool_]:
        return np.ones(len(columns), np.bool_)

    def score(self, columns: Columns, partition: Any, offset: Any) -> None:
        texts = [columns.entity[row] for row in range(len(columns))]
        if len(texts) > 1 and any(b"crowd" in text for text in texts):
            os.abort()
        for text in texts:
            if b"kill-score" in text or self.table.state.get(text) == b"kill":
                os.abort()
            if text == b"once" and not (done := Path((self.table.state[text] or b"").decode())).exists():
                done.touch()
                os.abort()
            if b"hang" in text:
                time.sleep(600)
            if b"raise" in text:
                raise ZeroDivisionError
            if b"memory" in text:
                hoard = [b"\1" * (16 << 20) for _ in range(64)]
                time.sleep(600)
                hoard.clear()
            if b"broken" in text:
                raise ModelError("the model is broken")


if __name__ == "__main__":
    connection = Connection(int(sys.argv[1]))
    connection.recv_bytes()
    table = Table()
    Trial(connection, Decoder(), Scorer(table), table).run()  # type: ignore[arg-type]
