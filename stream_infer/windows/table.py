"""EntityTable: the state of every entity of a worker's partitions, and its way to and from the state topic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import given
from stream_infer.records import Text
from stream_infer.windows.index import KeyIndex
from stream_infer.windows.judge_kernel import Judged, judge_rows
from stream_infer.windows.layout import NONE, STATE_KEY_PREFIX, TOP, Layout
from stream_infer.windows.memory import machine_bytes, reserved
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.push_kernel import Pushed, State, push_rows, push_scratch, take_dirty
from stream_infer.windows.snapshot import KINDS, KNOWN, UNKNOWN, StateCodec, StateRecords
from stream_infer.windows.undo import UndoLog

__all__ = ["EntityTable"]

_LEAST_CAPACITY = 1024
_NO_BOUND = np.iinfo(np.int64).max


class EntityTable:
    """Window state per (partition, entity): one for a worker, used by one thread at a time.

    ``layout`` and ``profiles`` are the model's. ``idle_ttl_s``: an entity silent for longer than this, by event time,
    begins anew; 0 for never. ``record_bytes`` is the length of the usual state record.

    The path of a batch is locate, push, (model), judge. Rows of one entity are taken strictly in the given order, and
    every result depends only on the rows and their order, never on where batches were cut: that is what makes a
    replay equal to the undisturbed run.

    The way of the state to the topic is a fuzzy checkpoint. A clean slot that a row touches goes to the end of its
    partition's dirty queue with that row's offset, so the queue ascends; flush takes from its head. All rows below the
    head's offset are in state records, so a restore loads those and replays from there (``replay_from``); a slot
    whose record was written later already has some of the replayed rows in it, and ``fresh`` says which it has not.

    A delivery ends with ``commit`` or ``undo``: undo makes the table what it was at the last commit.
    """

    def __init__(self, layout: Layout, profiles: Profiles, idle_ttl_s: float = 0.0) -> None:
        self._idle_ttl_ms = round(idle_ttl_s * 1000)
        self._lay_out(layout, profiles)

    def _lay_out(self, layout: Layout, profiles: Profiles) -> None:
        """Begin empty."""
        self.layout = layout
        self.profiles = profiles
        capacity = max(machine_bytes() // (4 * layout.row_length), _LEAST_CAPACITY)
        self._rows = reserved(capacity, (layout.row_length,), np.dtype(np.float32))
        self._index = KeyIndex(len(self._rows), KeyIndex.of(profiles.names))
        self._queues = np.full((1, 2), NONE, np.int32)
        self._swept: dict[int, int] = {}
        self._expired = np.empty(0, np.int64)
        self._undo = UndoLog(len(self._rows), layout.row_length)
        self._codec = StateCodec(layout)
        self.record_bytes = self._codec.bytes_of(KNOWN)
        self._smoothing = np.array(layout.smoothing)
        self._clip = np.array(layout.clip)

    def warm_up(self) -> None:
        """Compile the kernels, or read them from numba's disk cache, on a table of no use, so that no batch waits."""
        KeyIndex.warm_up()
        table = EntityTable(self.layout, self.profiles, 1.0)
        table.commit()
        entity, partition, zero = Text.of([b"warm"]), np.zeros(1, np.int32), np.zeros(1, np.int64)
        slots = table.locate(partition, entity)
        pushed = table.push(slots, np.zeros((1, self.layout.features)), zero, partition, zero)
        table.judge(slots, pushed.first, np.zeros((1, self.layout.terms, self.layout.features), np.float32))
        table.flush(0, 1, 1, 1)
        table.undo()

    # ---- the path of a batch

    def locate(self, partition: NDArray[np.int32], entity: Text) -> NDArray[np.int64]:
        """The slot of each row's entity (m), a new one where the table has none.

        Slots hold until the next load, drop or expire.
        """
        slots, taken = self._index.take(partition, entity)
        if taken is not None:
            self._undo.created(taken)
        return slots

    def find(self, partition: NDArray[np.int32], entity: Text) -> NDArray[np.int64]:
        """The slot of each row's entity (m), -1 where the table has none."""
        return self._index.find(partition, entity)

    def fresh(self, slots: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows are not in the state yet, given the slots that find gave; a replay leaves the others out."""
        as_of = np.where(slots == NONE, 0, self._index.slots["as_of"][slots])
        return np.asarray(offset >= as_of)

    def push(
        self,
        slots: NDArray[np.int64],
        features: NDArray[np.float64],
        time_ms: NDArray[np.int64],
        partition: NDArray[np.int32],
        offset: NDArray[np.int64],
    ) -> Pushed:
        """Take rows in and give the window of each as of that row.

        ``features`` (m, F) holds no infinity; NaN is imputed. Offsets ascend per partition. Slots are those of locate.
        """
        if len(self._expired):
            raise ValueError("after an expire a delivery takes no rows: commit or undo it first")
        m, size = len(slots), self.layout.window
        self._reserve_queues(int(partition.max(initial=0)))
        pushed = Pushed(
            windows=np.empty((m, size, self.layout.features), np.float32),
            window_full=np.empty(m, np.bool_),
            time_order=np.empty(m, np.uint8),
            first=np.empty(m, np.bool_),
        )
        push_rows(
            self._state,
            self.profiles.known,
            slots,
            given(features, np.float64),
            given(time_ms, np.int64),
            given(partition, np.int32),
            given(offset, np.int64),
            self._idle_ttl_ms,
            self.layout.running_at,
            push_scratch(self.layout.features),
            pushed,
        )
        return pushed

    def judge(
        self, slots: NDArray[np.int64], first: NDArray[np.bool_], errors: NDArray[np.float32]
    ) -> Judged:
        """Smooth and judge the model's errors (m, T, F) of the rows just pushed.

        All pushed rows must be here, in the same order, with push's ``first``; a row the model could not score has
        NaN errors.
        """
        m, terms = len(slots), self.layout.terms
        judged = Judged(
            score=np.empty(m),
            threshold=np.empty(m),
            is_anomaly=np.empty(m, np.bool_),
            top=np.empty((m, TOP), np.int32),
            share=np.empty((m, TOP), np.float32),
            raw=np.empty((m, terms)),
            finite=np.empty(m, np.bool_),
            alert=np.empty(m, np.uint8),
        )
        judge_rows(
            self._index.slots,
            self._rows,
            self.profiles.known,
            slots,
            first,
            given(errors, np.float32),
            self._smoothing,
            self._clip,
            (self.layout.smoothed_at, self.layout.usual_at),
            self.layout.release_ratio,
            self.layout.release_rows,
            np.empty((terms, self.layout.features)),
            judged,
        )
        return judged

    # ---- the way to the state topic

    def flush(self, partition: int, position: int, before_offset: int, limit: int) -> StateRecords:
        """Records of up to ``limit`` slots, dirty since before an offset, the longest dirty first; they are clean then.

        ``position`` is the partition's next offset: every row below it has been pushed and judged. What flush
        returns must reach the topic in the transaction that commits ``position``, or be undone, or the partition be
        dropped and loaded again.
        """
        self._reserve_queues(partition)
        numbers = np.empty(min(limit, len(self._index)), np.int64)
        return self.records(numbers[: take_dirty(self._state, partition, position, before_offset, numbers)])

    def records(self, slots: NDArray[np.int64]) -> StateRecords:
        """Records of these slots as they are now. Only flush makes records that may be written to the topic."""
        unknown = self._index.slots["profile"][slots] == self.profiles.fleet
        known = self._encode(slots[~unknown], KNOWN)
        return known.joined(self._encode(slots[unknown], UNKNOWN)) if unknown.any() else known

    def replay_from(self, partition: int, position: int) -> int:
        """Where a replay must begin if the table is lost: since when the queue's head is dirty, else ``position``."""
        self._reserve_queues(partition)
        head = int(self._queues[partition, 0])
        return position if head == NONE else int(self._index.slots["dirty_since"][head])

    def expire(self, partition: int, now_ms: int, limit: int) -> list[bytes]:
        """Choose idle entities among the next ``limit`` slots and return the state keys to write tombstones for.

        They are gone with the next commit; before it the table takes no rows.

        Idle: clean, and newest time more than the time to live before ``now_ms``, the partition's event time. Entities
        with a row that a replay would read again are left for later: it would bring back half of them. For the same
        reason nothing may be expired while the partition is itself in a replay. The tombstones must reach the topic
        as flush's records must.
        """
        used = self._index.used
        if self._idle_ttl_ms <= 0 or used == 0:
            return []
        bound = self.replay_from(partition, _NO_BOUND)
        at = self._swept.get(partition, 0)
        numbers = self._index.idle(partition, at, limit, now_ms - self._idle_ttl_ms, bound)
        numbers = numbers[~np.isin(numbers, self._expired)]
        self._swept[partition] = (at + limit) % used
        self._expired = np.append(self._expired, numbers)
        entity = self._index.keys(numbers)
        return [STATE_KEY_PREFIX + entity[i] for i in range(len(entity))]

    # ---- the end of a delivery

    def commit(self) -> None:
        """The table stays as it is; what was expired is gone. The next delivery begins here."""
        self._index.release(self._expired)
        self._begin()

    def undo(self) -> bool:
        """Make the table what it was at the last commit. False, and nothing done, where the log does not hold it."""
        if not self._undo.whole:
            return False
        self._index.release(self._undo.undo(self._index.slots, self._rows, self._queues))
        self._begin()
        return True

    # ---- the way back

    def load(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        """Bring back entities of a clean partition from state records in topic order; None is a tombstone.

        The last record of a key counts. Records that are damaged or of another layout or version free their entity,
        which then begins anew. Returns how many those were, records with a foreign key included.
        """
        if self.replay_from(partition, NONE) != NONE:
            raise ValueError(f"partition {partition} has rows that are not in the state topic: drop it first")
        last = dict(zip(keys, values, strict=True))
        records = {key: value for key, value in last.items() if key.startswith(STATE_KEY_PREFIX)}
        kinds = {key: None if value is None else self._codec.kind(value) for key, value in records.items()}
        unread = sum(value is not None and kinds[key] is None for key, value in records.items())
        self._release(partition, [key for key, kind in kinds.items() if kind is None])
        for kind in KINDS:
            whole = {key: value for key, value in records.items() if value is not None and kinds[key] == kind}
            unread += self._restore(partition, whole, kind)
        return unread + len(last) - len(records)

    def drop(self, partition: int) -> None:
        """Forget everything of a partition."""
        self._reserve_queues(partition)
        self._free(self._index.of_partition(partition))
        self._queues[partition] = NONE
        self._undo.forget_queue(partition)
        self._swept.pop(partition, None)

    # ---- another model

    def adopt(self, layout: Layout, profiles: Profiles) -> None:
        """Go on for another model. Nothing may be open: call it right after ``commit``, with all state flushed.

        With a layout of the same fingerprint entities keep their state; the rows in their windows stay standardised
        as they were. An entity that only the earlier model knew, and every entity under another layout, begins anew.
        """
        if layout.fingerprint != self.layout.fingerprint:
            self._lay_out(layout, profiles)
            return
        slots = self._index.slots[: self._index.used]
        held = np.flatnonzero(slots["partition"] != NONE)
        names = KeyIndex.of(profiles.names)
        profile = names.find(np.zeros(len(held), np.int32), self._index.keys(held))
        profile = np.where(profile == NONE, profiles.fleet, profile)
        forgotten = (profile == profiles.fleet) & (slots["profile"][held] != self.profiles.fleet)
        slots["profile"][held] = profile
        self._index.names = names
        self.layout, self.profiles = layout, profiles
        self._free(held[forgotten])
        self._begin()

    def profile_of(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of Profiles that each slot's entity has."""
        return self._index.slots["profile"][slots].astype(np.int64)

    # ---- size

    @property
    def entity_count(self) -> int:
        """Entities of all partitions."""
        return len(self._index)

    @property
    def bytes_count(self) -> int:
        """Memory of the state."""
        rows_bytes = self._index.used * self.layout.row_length * 4
        return rows_bytes + self._index.bytes_count + self._queues.nbytes + self._undo.bytes_count

    @property
    def _state(self) -> State:
        return State(self._index.slots, self._rows, self._queues, self._undo.kept)

    def _begin(self) -> None:
        self._expired = self._expired[:0]
        self._undo.begin(self._queues)

    def _free(self, numbers: NDArray[np.int64]) -> None:
        """Give up entities for good: no undo brings them back."""
        self._undo.forget(numbers)
        self._expired = self._expired[~np.isin(self._expired, numbers)]
        self._index.release(numbers)

    def _reserve_queues(self, partition: int) -> None:
        if partition >= len(self._queues):
            more = np.full((partition + 1 - len(self._queues), 2), NONE, np.int32)
            self._queues = np.concatenate([self._queues, more])

    def _encode(self, numbers: NDArray[np.int64], kind: int) -> StateRecords:
        return self._codec.encode(
            self._index.keys(numbers), self._index.slots[numbers], self._rows[numbers], kind
        )

    def _release(self, partition: int, keys: Sequence[bytes]) -> None:
        slots = self.find(np.full(len(keys), partition, np.int32), _entities(keys))
        self._free(slots[slots != NONE])

    def _restore(self, partition: int, records: dict[bytes, bytes], kind: int) -> int:
        """Bring back these records, of one kind; return how many lack the running statistics their entity now needs."""
        keys = list(records)
        numbers = self._index.locate(np.full(len(keys), partition, np.int32), _entities(keys))
        lacking = np.zeros(len(keys), np.bool_)
        if kind == KNOWN:
            lacking = self._index.slots["profile"][numbers] == self.profiles.fleet
        decoded = self._codec.decode(list(records.values()), kind)
        for name in ("as_of", "last_time_ms", "count", "alert"):
            self._index.slots[name][numbers] = decoded[name]
        self._rows[numbers, : decoded["row"].shape[1]] = decoded["row"]
        if decoded["row"].shape[1] <= self.layout.usual_at:
            self._rows[numbers, self.layout.usual_at] = 0
        self._free(numbers[lacking])
        return int(lacking.sum())


def _entities(keys: Sequence[bytes]) -> Text:
    """The entity in each state key."""
    text = Text.of(keys)
    return Text(text.data, text.start + len(STATE_KEY_PREFIX), text.length - len(STATE_KEY_PREFIX))
