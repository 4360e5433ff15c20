"""The runtimes that this environment has, each against the contract of all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream_infer.models.loading import open_artifact
from stream_infer.models.model import Model
from stream_infer.models.placement import ON_CPU
from tests.runtimes import RuntimeContract, drawn_artifact


class TestOnnx(RuntimeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Callable[[], Model]:
        return lambda: open_artifact(drawn_artifact(), ON_CPU).model
