"""What a decode program is made of.

A program is an int64 array (n, 4): an instruction a row, ``[op, a, b, c]``, which starts at row 0 and stops
at END. It reads a datum front to back; each instruction takes the bytes of one value, or steers. Columns:
a feature is ``a`` >= 0, or ELEMENT, the next one of a feature array; a text is ENTITY or EVENT_ID.

Whatever the bytes say, no instruction reads beyond the row, every round of a loop takes at least one byte
(items without bytes are counted, not walked), and loops, calls and marks share one stack of MAX_DEPTH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Program"]

MAX_DEPTH: Final = 64

# Read over a value.
SKIP: Final = 0  # a bytes
SKIP_BOOLEAN: Final = 1
SKIP_INT: Final = 2
SKIP_LONG: Final = 3
SKIP_BYTES: Final = 4
SKIP_STRING: Final = 5
SKIP_ENUM: Final = 6  # of a symbols
SKIP_EMPTY: Final = 7  # an array whose items take no bytes
# Runs of b features, from column a on.
FLOATS: Final = 8
DOUBLES: Final = 9
# One feature into column a.
FLOAT: Final = 10
DOUBLE: Final = 11
INT: Final = 12
LONG: Final = 13
BOOLEAN: Final = 14
DECIMAL: Final = 15  # bytes, scale b
DECIMAL_FIXED: Final = 16  # c bytes, scale b
MISSING: Final = 17  # takes no bytes
# A whole feature array.
FLOAT_ARRAY: Final = 18
DOUBLE_ARRAY: Final = 19
ELEMENTS: Final = 20  # one item at a time begins
ELEMENTS_END: Final = 21
# Text of column a.
TEXT_STRING: Final = 22
TEXT_BYTES: Final = 23
TEXT_FIXED: Final = 24  # b bytes
TEXT_INT: Final = 25
TEXT_LONG: Final = 26
TEXT_ENUM: Final = 27  # b symbols, and a DATA row for each: start and length in the symbol bytes
TEXT_MISSING: Final = 28
# Epoch milliseconds.
TIME_INT: Final = 29  # times a
TIME_LONG: Final = 30  # divided by a
TIME_FLOAT: Final = 31  # seconds
TIME_DOUBLE: Final = 32
TIME_RECORD: Final = 33  # the record's own timestamp
# Steer.
UNION: Final = 34  # a branches, and a DATA row for each: its address
JUMP: Final = 35  # to a
LOOP: Final = 36  # an array or a map begins; NEXT follows
NEXT: Final = 37  # another item of at least b bytes, or on at a
CALL: Final = 38  # a
RETURN: Final = 39
MARK: Final = 40  # remember the place in the datum
BACK: Final = 41  # and return to it
FAIL: Final = 42  # with status a
END: Final = 43
DATA: Final = 44  # not executed: a row of the table of the instruction above

ELEMENT: Final = -1
ENTITY: Final = 0
EVENT_ID: Final = 1


@dataclass(frozen=True, slots=True)
class Program:
    """``code`` as above, the enum symbols its texts may be, and per instruction the field it reads."""

    code: NDArray[np.int64]
    symbols: NDArray[np.uint8]
    paths: tuple[str, ...]
