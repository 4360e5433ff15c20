"""Which parts of the events get statistics of their own: all of them, rules, entities."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.pairs import Pairs

__all__ = ["ALL", "Segments"]

ALL: Final = "all"
"""The segment of all events. The others are called ``rule:NAME`` and ``entity:NAME``."""


class Segments:
    """Rules (name -> patterns of entities, as in ``web-*``), and up to ``entity_count`` entities.

    Where there are more entities than that, those with the smallest checksums of their names are kept: a sample that
    depends neither on the order of the events nor on what they say, and whose statistics are complete.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], entity_count: int) -> None:
        self._rules = dict(rules)
        self._entity_count = entity_count
        self._entities: dict[str, tuple[int, str]] = {}

    def admit(self, entities: Sequence[str]) -> bool:
        """Give entities a place, as far as there are places; says whether others lost theirs."""
        new = [entity for entity in entities if entity not in self._entities]
        if not new:
            return False
        self._entities |= {entity: (zlib.crc32(entity.encode()), entity) for entity in new}
        if len(self._entities) > self._entity_count:
            kept = sorted(self._entities.items(), key=lambda item: item[1])[: self._entity_count]
            self._entities = dict(kept)
            return True
        return False

    def keeps(self, segment: str) -> bool:
        """Say whether a segment has statistics."""
        return not segment.startswith("entity:") or segment.removeprefix("entity:") in self._entities

    def of(self, pairs: Pairs) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """Yield names of segments and, per row, the number of its segment among them, -1 for none."""
        yield (ALL,), np.zeros(len(pairs), np.int64)
        for name, patterns in self._rules.items():
            inside = [any(fnmatchcase(entity, pattern) for pattern in patterns) for entity in pairs.entity]
            place = np.where(inside, 0, -1).astype(np.int64)
            yield (f"rule:{name}",), place[pairs.entity_code]
        names = tuple(f"entity:{entity}" for entity in pairs.entity)
        kept = np.array([entity in self._entities for entity in pairs.entity], np.bool_)
        place = np.where(kept, np.arange(len(names)), -1)
        yield names, place[pairs.entity_code]
