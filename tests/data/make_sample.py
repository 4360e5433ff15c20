"""Make the sample that ships in the package from the Server Machine Dataset as one Parquet file.

    python tests/data/make_sample.py SMD.parquet ROOT_CAUSES.csv stream_infer/data

Takes one machine of each of the three groups, those whose rows compress best of the ones with several anomalies:
all of their rows, untouched. stream_infer/data/NOTICE.md says where the data comes from.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MACHINES = ("machine-1-2", "machine-2-3", "machine-3-4")


def write_rows(source: Path, target: Path) -> None:
    """Write the machines' rows, one row group each, without the writer's private metadata."""
    table = pq.read_table(source, filters=pc.field("entity_id").isin(MACHINES)).replace_schema_metadata(None)
    parts = [table.filter(pc.equal(table["entity_id"].cast(pa.string()), name)) for name in MACHINES]
    with pq.ParquetWriter(target, table.schema, compression="zstd", compression_level=19) as writer:
        for part in parts:
            writer.write_table(part.unify_dictionaries(), row_group_size=len(part))


def write_causes(source: Path, target: Path) -> None:
    """Write the machines' root causes."""
    with source.open(newline="") as file, target.open("w", newline="") as out:
        reader = csv.DictReader(file)
        writer = csv.DictWriter(out, reader.fieldnames or (), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in reader if row["entity_id"] in MACHINES)


if __name__ == "__main__":
    rows, causes, folder = map(Path, sys.argv[1:])
    write_rows(rows, folder / "smd_sample.parquet")
    write_causes(causes, folder / "smd_sample_root_causes.csv")
