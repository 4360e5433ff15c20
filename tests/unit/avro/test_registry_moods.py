"""Whatever a registry says that is no schema, nobody takes it for one, and nothing of it is kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stream_infer.avro.registry import Registry
from stream_infer.errors import RegistryError
from tests.chaos.registry_front import RegistryFront

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "mood", ["down", "slow", "refuses", "error page", "no schema", "well, but its registry is gone"]
)
def test_a_registry_that_talks_nonsense_is_waited_for(mood: str, tmp_path: Path) -> None:
    with RegistryFront(NOWHERE, {}) as front:
        front.mood = mood
        registry = Registry({"url": front.url}, 1.0 if mood == "slow" else 60.0, cache_dir=tmp_path)
        with pytest.raises(RegistryError, match="gave no answer for schema 7"):
            registry.get(7)
        registry.close()
        deadline = time.monotonic() + 60
        while not front.asked_count:  # by a question that was given up, it may be told later
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert not list(tmp_path.rglob("*.json"))
