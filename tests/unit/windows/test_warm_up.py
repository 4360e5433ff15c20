"""What a table does before its first batch, and the room it has."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.scorer import Scorer
from stream_infer.windows import index_kernels, judge_kernel, push_kernel, undo_kernels
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

KERNELS = [
    getattr(module, name)
    for module in (index_kernels, push_kernel, judge_kernel, undo_kernels)
    for name in module.__all__
    if hasattr(getattr(module, name), "signatures")
]


def test_each_kernel_is_compiled_once_and_by_warm_up() -> None:
    """Whatever arrays come later: read-only, strided, of other integers."""
    layout = layout_of(3, 5, 2)
    table = EntityTable(layout, profiles_of(layout, (b"a",)), 1.0)
    scorer = Scorer(Difference(2), table.profiles, layout, table)
    scorer.warm_up()
    table.commit()
    assert len(KERNELS) == 13
    assert [len(kernel.signatures) for kernel in KERNELS] == [1] * len(KERNELS)

    columns = columns_of(
        [b"%d" % (i // 2) for i in range(8000)], list(range(8000)), np.zeros((8000, 10))[:, ::2]
    )
    columns.entity.data = np.array(columns.entity.data)
    scorer.score(columns, np.zeros(8000, np.int64), np.arange(8000, dtype=np.int32))
    table.undo()
    scorer.score(columns, np.zeros(8000, np.int64), np.arange(8000, dtype=np.int32))
    records = table.flush(0, 8000, 8000, 9000)
    table.expire(0, 1 << 40, 9000)
    table.commit()
    table.load(0, *zip(*records.pairs(), strict=True))
    scorer.fresh(columns, np.zeros(8000, np.int32), np.arange(8000))
    table.drop(0)
    assert [len(kernel.signatures) for kernel in KERNELS] == [1] * len(KERNELS)


def test_warming_up_leaves_the_table_as_it_was() -> None:
    layout = layout_of(2, 3)
    table = EntityTable(layout, profiles_of(layout, ()))
    Scorer(Difference(1), table.profiles, layout, table).warm_up()

    assert table.entity_count == 0
    assert table.replay_from(0, 5) == 5


def test_a_table_is_bounded_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_infer.windows.table.machine_bytes", lambda: 0)
    layout = layout_of(2, 3)
    table = EntityTable(layout, profiles_of(layout, ()))
    names = [b"%d" % i for i in range(1025)]

    with pytest.raises(MemoryError, match="1025 entities"):
        table.locate(np.zeros(1025, np.int32), columns_of(names, [0] * 1025, np.zeros((1025, 3))).entity)
