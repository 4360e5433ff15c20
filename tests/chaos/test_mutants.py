"""The table of mutants: what it names exists, and there are enough of them."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.checker import CHECKS
from tests.chaos.hunt import caught
from tests.chaos.mutants import MUTANTS
from tests.chaos.scenario import load_all


@pytest.mark.parametrize(
    ("violations", "expected"),
    [({"lost": 3}, True), ({"lost": 3, "committed": 1}, False), ({"scores": 1}, False), ({}, False)],
)
def test_what_is_only_not_done_yet_is_not_lost(violations: dict[str, int], expected: bool) -> None:
    report: Any = SimpleNamespace(violations=violations)

    assert caught(MUTANTS["does-not-rewind"], report) is expected


def test_there_are_at_least_twelve() -> None:
    assert len(MUTANTS) >= 12


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_names_what_exists(name: str) -> None:
    mutant = MUTANTS[name]
    module, _, function = mutant.reference.partition(":")

    assert getattr(import_module(module), function) is mutant.patch
    assert mutant.scenario in load_all()
    assert mutant.finds
    assert mutant.finds <= CHECKS.keys()
    assert mutant.purpose
