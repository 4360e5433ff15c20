"""How far a topic is counted: which records go on from there, and where reading must start again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

__all__ = ["Positions", "ReadRecord"]


class ReadRecord(Protocol):
    """A record, and from where on it was read: ``read_from`` to ``offset`` lies no other record."""

    partition: int
    offset: int
    read_from: int


Record = TypeVar("Record", bound=ReadRecord)


class Positions:
    """Where each partition is counted up to, without a gap.

    A client that drops what it has fetched, and goes on behind it, is found out here: whatever it hands over next was
    not read from where counting stands.
    """

    def __init__(self) -> None:
        self._counted: dict[int, int] = {}
        self.behind: set[int] = set()
        """Partitions whose last record since the restart did not go on from what is counted."""

    def all(self) -> Mapping[int, int]:
        """The first offset that is not counted, by partition; one that has none begins at 0."""
        return dict(self._counted)

    def restart(self) -> Mapping[int, int]:
        """Where reading starts again: nothing is behind then."""
        self.behind.clear()
        return self.all()

    def load(self, positions: Mapping[int, int]) -> None:
        """Take stored positions that are ahead."""
        for partition, position in positions.items():
            self._counted[partition] = max(position, self._counted.get(partition, 0))

    def take(self, records: Iterable[Record]) -> list[Record]:
        """Count records in the order they come; returns those that are new, up to the first gap of a partition."""
        return [record for record in records if self._is_next(record)]

    def _is_next(self, record: ReadRecord) -> bool:
        counted = self._counted.get(record.partition, 0)
        if record.read_from > counted:
            self.behind.add(record.partition)
            return False
        self.behind.discard(record.partition)
        if record.offset < counted:
            return False
        self._counted[record.partition] = record.offset + 1
        return True
