"""The runtimes that this environment has, each against the contract of all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream_infer.models.loading import open_artifact
from stream_infer.models.model import Model
from stream_infer.models.onnx_lanes import Lanes
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import ON_CPU
from tests.runtimes import RuntimeContract, drawn_artifact


class TestOnnx(RuntimeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Callable[[], Model]:
        return lambda: open_artifact(drawn_artifact(), ON_CPU).model


class TestOnnxInLanes(RuntimeContract):
    """What a GPU does with a batch, but for the device: parts in buckets, on two lanes."""

    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Callable[[], Model]:
        def opened() -> Model:
            whole = open_artifact(drawn_artifact(), ON_CPU).model
            assert isinstance(whole, OnnxModel)
            return OnnxModel(
                whole.session, ("contract", "1"), whole.layout, Lanes(whole.session, whole.layout, 128)
            )

        return opened
