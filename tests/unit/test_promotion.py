"""When an alias moves on a verdict, and what is said when it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.verdict_record import StoredVerdict
from stream_infer.errors import ModelRegistryError, NotPromotedError
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.promotion import Promotion


class Registry:
    """Aliases in memory; ``failing`` makes it not answer."""

    def __init__(self) -> None:
        self.aliases = {"current": "1", "challenger": "2"}
        self.failing = False

    def resolve(self, wanted: str) -> ModelVersion:
        if self.failing:
            raise ModelRegistryError("down")
        return ModelVersion("detector", self.aliases.get(wanted, wanted), "")

    def fetch(self, version: ModelVersion, folder: Path) -> None: ...

    def point(self, alias: str, version: str) -> None:
        self.aliases[alias] = version


class Time:
    """A clock that moves when somebody sleeps; ``then`` is what happens at a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then: dict[int, Callable[[], object]] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then.pop(int(self.now), lambda: None)()


class World:
    """A registry, verdicts to come, and a wish to promote the challenger."""

    def __init__(self, since_ms: int = 0) -> None:
        self.registry, self.time = Registry(), Time()
        self._coming: list[StoredVerdict] = []
        self._promotion = Promotion(self.registry, "current", "challenger", "s", since_ms, self._news)

    def say(self, verdict: str, primary: str = "1", shadow: str = "2", at_ms: int = 5) -> None:
        versions = Versions("s", primary, shadow)
        self._coming.append(StoredVerdict(versions, verdict, "because", at_ms))

    def wait(self, timeout_s: float) -> str:
        return self._promotion.wait(timeout_s, self.time, self.time.sleep).version

    def _news(self) -> Iterable[StoredVerdict]:
        coming, self._coming = self._coming, []
        return coming


def test_the_newest_verdict_on_these_versions_counts() -> None:
    world = World()
    world.say("keep")
    world.say("promote")
    world.say("keep", shadow="3")
    assert world.wait(0) == "2"
    assert world.registry.aliases["current"] == "2"


def test_it_waits_until_the_verdict_comes() -> None:
    world = World()
    world.say("undecided")
    world.time.then[30] = lambda: world.say("promote")
    assert world.wait(60) == "2"
    assert world.time.now == 30


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], r"no verdict on 2 beside 1 by the shadow s \(there are: none\)"),
        ([("promote", "0", "2")], r"there are: 2 beside 0 by s"),
        ([("undecided", "1", "2")], "is still undecided: because"),
    ],
)
def test_without_a_verdict_in_time_nothing_moves(said: list[tuple[str, str, str]], words: str) -> None:
    world = World()
    for one in said:
        world.say(*one)
    with pytest.raises(NotPromotedError, match=words):
        world.wait(10)
    assert world.time.now == 10
    assert world.registry.aliases["current"] == "1"


def test_keep_ends_the_wait() -> None:
    world = World()
    world.time.then[3] = lambda: world.say("keep")
    with pytest.raises(NotPromotedError, match="is keep: because"):
        world.wait(60)
    assert world.time.now == 3


def test_a_verdict_from_before_is_no_verdict() -> None:
    world = World(since_ms=6)
    world.say("promote", at_ms=5)
    with pytest.raises(NotPromotedError, match="older than --since"):
        world.wait(1)
    world.say("promote", at_ms=6)
    assert world.wait(1) == "2"


def test_a_verdict_on_versions_that_are_no_longer_meant_moves_nothing() -> None:
    world = World()
    world.time.then[2] = lambda: world.registry.point("challenger", "3")
    world.time.then[4] = lambda: world.say("promote")
    world.time.then[6] = lambda: world.say("promote", shadow="3")
    assert world.wait(60) == "3"
    assert world.time.now == 6


def test_a_registry_that_is_away_for_a_while_is_asked_again() -> None:
    world = World()
    world.time.then[2] = lambda: setattr(world.registry, "failing", True)
    world.time.then[3] = lambda: world.say("promote")
    world.time.then[9] = lambda: setattr(world.registry, "failing", False)
    assert world.wait(60) == "2"
    assert world.time.now == 9


def test_a_registry_that_is_away_at_first_or_at_last_is_an_error() -> None:
    world = World()
    world.registry.failing = True
    with pytest.raises(ModelRegistryError):
        world.wait(60)
    world.registry.failing = False
    world.time.then[1] = lambda: setattr(world.registry, "failing", True)
    with pytest.raises(ModelRegistryError):
        world.wait(60)


def test_what_is_done_already_is_done() -> None:
    world = World()
    world.registry.point("current", "2")
    assert world.wait(0) == "2"
