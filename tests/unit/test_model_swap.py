"""Following an alias, trying a candidate, and what a swap does to the state of entities."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import ModelError, ModelRegistryError, ModelServerError
from stream_infer.model_registry.follower import Follower
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.probe import Unfit, flips
from stream_infer.records import Text
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.recent import Recent
from stream_infer.windows.table import EntityTable

FEATURES, TERMS = 3, 1
DEADLINE_S = 60.0


def layout(window: int = 4) -> Layout:
    return Layout(window=window, features=FEATURES, terms=TERMS, smoothing=(0.5,), clip=(100.0,))


def profiles(*names: bytes, threshold: float = 2.0, center: float = 0.0) -> Profiles:
    rows = len(names) + 1
    return Profiles(
        names,
        np.full((rows, FEATURES), center),
        np.ones((rows, FEATURES)),
        np.ones((rows, TERMS, FEATURES), np.float32),
        np.ones((rows, TERMS)),
        np.full(rows, threshold),
    )


# ---- the table


def push(table: EntityTable, names: list[bytes], offset: int, value: float) -> np.ndarray:
    count = len(names)
    slots = table.locate(np.zeros(count, np.int32), Text.of(names))
    offsets = np.arange(offset, offset + count)
    pushed = table.push(slots, np.full((count, FEATURES), value), offsets, np.zeros(count, np.int32), offsets)
    table.judge(slots, pushed.first, np.ones((count, TERMS, FEATURES), np.float32))
    table.commit()
    return pushed.windows


def test_with_the_same_layout_entities_keep_their_windows_and_get_the_new_thresholds() -> None:
    table = EntityTable(layout(), profiles(b"a", b"b"))
    push(table, [b"a", b"b"], 0, 1.0)
    table.adopt(layout(), profiles(b"b", b"a", threshold=9.0, center=1.0))
    windows = push(table, [b"a", b"b"], 2, 1.0)

    assert np.allclose(windows[:, 2], 5 * np.arcsinh(0.2))  # the row before, standardised as it was
    assert np.allclose(windows[:, 3], 0.0)  # the new row, by the new centre
    slots = table.find(np.zeros(2, np.int32), Text.of([b"a", b"b"]))
    assert table.profile_of(slots).tolist() == [1, 0]
    judged = table.judge(slots, np.ones(2, np.bool_), np.ones((2, TERMS, FEATURES), np.float32))
    assert judged.threshold.tolist() == [9.0, 9.0]


def test_an_entity_that_only_the_earlier_model_knew_begins_anew() -> None:
    table = EntityTable(layout(), profiles(b"a", b"b"))
    push(table, [b"a", b"b"], 0, 1.0)
    table.adopt(layout(), profiles(b"b"))

    assert table.entity_count == 1
    assert table.find(np.zeros(2, np.int32), Text.of([b"a", b"b"])).tolist()[0] == -1
    windows = push(table, [b"a"], 2, 0.0)
    assert np.ptp(windows) == 0.0


def test_another_layout_begins_empty() -> None:
    table = EntityTable(layout(), profiles(b"a"))
    push(table, [b"a"], 0, 1.0)
    table.adopt(layout(window=6), profiles(b"a"))

    assert table.entity_count == 0
    assert push(table, [b"a"], 1, 1.0).shape == (1, 6, FEATURES)
    assert table.replay_from(0, 2) == 1


def test_what_was_adopted_is_what_a_restore_finds() -> None:
    table = EntityTable(layout(), profiles(b"a"))
    push(table, [b"a", b"new"], 0, 1.0)
    table.flush(0, 2, 2, 10)
    table.commit()
    table.adopt(layout(), profiles(b"a", b"new", threshold=9.0))
    push(table, [b"a", b"new"], 2, 3.0)
    records = list(table.flush(0, 4, 4, 10).pairs())
    table.commit()
    fresh = EntityTable(layout(), profiles(b"a", b"new", threshold=9.0))
    fresh.load(0, [key for key, _ in records], [value for _, value in records])

    expected, found = (push(one, [b"a", b"new"], 4, 5.0) for one in (table, fresh))
    assert np.array_equal(expected, found)


# ---- the probe


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model whose error is the newest row's value times a factor."""

    layout: Layout
    profiles: Profiles
    factor: float = 1.0

    @property
    def model(self) -> Loaded:
        return self

    def score(self, windows: np.ndarray) -> np.ndarray:
        assert windows.shape[1] == self.layout.window
        return (windows[:, -1:, :] * self.factor).astype(np.float32)


def recent(values: list[float], window: int = 4) -> tuple[np.ndarray, np.ndarray]:
    windows = np.zeros((len(values), window, FEATURES), np.float32)
    windows[:, -1] = np.array(values)[:, None]
    return windows, np.zeros(len(values), np.int64)


def test_flips_are_the_share_judged_otherwise() -> None:
    used = Loaded(layout(), profiles(b"a", threshold=4.0))
    rows = recent([0.0, 1.0, 2.0, 3.0])  # scores 0, 1, 4, 9
    assert flips(*rows, used, used) == 0.0
    assert flips(*rows, used, Loaded(layout(), profiles(b"a", threshold=0.5))) == 0.25
    assert flips(*rows, used, Loaded(layout(), profiles(b"a", threshold=100.0))) == 0.5


def test_windows_are_made_to_fit_the_candidate() -> None:
    used = Loaded(layout(), profiles(b"a", threshold=4.0))
    rows = recent([0.0, 1.0, 2.0, 3.0])
    for window in (1, 2, 7):
        assert flips(*rows, used, Loaded(layout(window), profiles(b"a", threshold=4.0))) == 0.0
    moved = 5 * np.sinh(
        2.0 / 5
    )  # what was at 2 is the candidate's centre, so only what was below is far from it
    candidate = Loaded(layout(), profiles(b"a", threshold=4.0, center=moved))
    assert flips(*rows, used, candidate) == 0.75


def test_a_candidate_that_fails_or_gives_no_number_is_unfit() -> None:
    used = Loaded(layout(), profiles(b"a"))
    with pytest.raises(Unfit, match="not finite"):
        flips(*recent([1.0]), used, Loaded(layout(), profiles(b"a"), factor=np.nan))
    broken = Loaded(layout(), profiles(b"a"), factor="x")  # type: ignore[arg-type]
    with pytest.raises(Unfit, match="fails on windows"):
        flips(*recent([1.0]), used, broken)


def test_recent_rows_are_bounded_and_the_newest() -> None:
    kept = Recent()
    assert kept.rows() is None
    for number in range(400):
        kept.add(np.full((3, 2, FEATURES), number, np.float32), np.full(3, number))
    windows, profile = kept.rows() or pytest.fail("nothing kept")
    assert len(profile) == len(windows) == 500
    assert profile[-1] == 399
    assert profile.tolist() == sorted(profile.tolist())


# ---- the follower


class Registry:
    """A registry in memory; ``failing`` makes it not answer."""

    def __init__(self) -> None:
        self.meant = "1"
        self.failing = False

    def resolve(self, wanted: str) -> ModelVersion:
        if self.failing:
            raise ModelRegistryError("down")
        return ModelVersion("detector", self.meant, "", (wanted,))

    def fetch(self, version: ModelVersion, folder: Path) -> None: ...

    def point(self, alias: str, version: str) -> None: ...


class Told:
    def __init__(self) -> None:
        self.refusals: list[tuple[str, str]] = []
        self.silences = 0

    def refused(self, version: str, reason: str) -> None:
        self.refusals.append((version, reason))

    def unfollowed(self, reason: str) -> None:
        self.silences += 1


def until(true: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def followed():
    registry, told, prepared = Registry(), Told(), []
    gate = threading.Event()
    gate.set()

    def prepare(version: ModelVersion) -> str:
        prepared.append(version.version)
        gate.wait(DEADLINE_S)
        if version.version.startswith("bad"):
            raise ModelError("damaged")
        if version.version.startswith("far") and prepared.count(version.version) < 3:
            raise (ModelRegistryError, ModelServerError)[prepared.count(version.version) % 2]("not yet")
        return f"model {version.version}"

    follower = Follower(registry, "current", "1", prepare, told, 0.01)
    follower.open()
    yield registry, told, prepared, follower
    follower.close()


def test_what_the_alias_comes_to_mean_is_prepared_once_and_held(followed) -> None:
    registry, told, prepared, follower = followed
    time.sleep(0.1)
    assert not follower.held
    assert prepared == []
    registry.meant = "2"
    until(lambda: follower.held)
    time.sleep(0.1)
    version, model = follower.take()
    assert (version.version, model, prepared) == ("2", "model 2", ["2"])
    assert not follower.held
    assert told.refusals == []


def test_a_candidate_that_is_no_longer_meant_is_dropped(followed) -> None:
    registry, _, _, follower = followed
    registry.meant = "2"
    until(lambda: follower.held)
    registry.meant = "1"
    until(lambda: not follower.held)
    assert follower.take() is None


def test_a_bad_version_is_refused_once_and_the_next_one_taken(followed) -> None:
    registry, told, prepared, follower = followed
    registry.meant = "bad"
    until(lambda: told.refusals)
    time.sleep(0.1)
    assert told.refusals == [("bad", "damaged")]
    assert prepared == ["bad"]
    registry.meant = "3"
    until(lambda: follower.held)
    assert follower.take()[1] == "model 3"


def test_a_registry_that_does_not_answer_is_asked_again(followed) -> None:
    registry, told, _, follower = followed
    registry.failing = True
    until(lambda: told.silences > 2)
    registry.failing, registry.meant = False, "far"
    until(lambda: follower.held)
    assert follower.take()[1] == "model far"


def test_a_version_refused_at_the_last_moment_is_not_offered_again(followed) -> None:
    registry, told, prepared, follower = followed
    registry.meant = "2"
    until(lambda: follower.held)
    version, _ = follower.take()
    follower.refuse(version, "it cannot read the events", "1")
    time.sleep(0.1)
    assert not follower.held
    assert prepared == ["2"]
    assert told.refusals == [("2", "it cannot read the events")]
