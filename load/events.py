"""The usual traffic by name, and its rows for ``stream-infer train``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from load.traffic import FIRST_MS, HOSTS, ROWS_PER_HOST, SCHEMA_ID, STEP_MS, Traffic, host

__all__ = ["FEATURES", "HOSTS", "SCHEMA", "SCHEMA_ID", "USUAL", "host", "pairs", "training_file"]

USUAL = Traffic()
"""200 hosts that training saw, 38 features in an array."""

SCHEMA = USUAL.schema
FEATURES = USUAL.features
pairs = USUAL.pairs


def training_file(path: Path) -> Path:
    """Write rows of every host for ``stream-infer train``."""
    number = np.repeat(np.arange(HOSTS), ROWS_PER_HOST)
    seq = np.tile(np.arange(ROWS_PER_HOST), HOSTS)
    rows = USUAL.rows(number, seq)
    columns = {"entity_id": [host(n) for n in number], "ts": FIRST_MS + (seq - ROWS_PER_HOST) * STEP_MS}
    columns |= {name: rows[:, i] for i, name in enumerate(FEATURES)}
    pq.write_table(pa.table(columns), path)
    return path
