"""Kafka headers of many records as a kernel takes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import given
from stream_infer.records import HeaderColumn

__all__ = ["HeaderArrays", "header_arrays"]


class HeaderArrays(NamedTuple):
    """The columns of a HeaderColumn: where each record's headers end, and of each header its name and value."""

    ends: NDArray[np.int64]
    names: NDArray[np.uint8]
    name_ends: NDArray[np.int64]
    values: NDArray[np.uint8]
    value_ends: NDArray[np.int64]
    null: NDArray[np.bool_]


def header_arrays(column: HeaderColumn) -> HeaderArrays:
    """Arrays as the kernels were compiled for."""
    names, values = column.names, column.values
    return HeaderArrays(
        given(column.ends, np.int64),
        given(names.data, np.uint8),
        given(names.ends, np.int64),
        given(values.data, np.uint8),
        given(values.ends, np.int64),
        given(values.null, np.bool_),
    )
