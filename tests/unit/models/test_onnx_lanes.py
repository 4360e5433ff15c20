"""The lanes to a GPU, here between places of one memory: the same numbers as in one run, for any size of batch."""

from __future__ import annotations

import gc
import threading

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream_infer.models import onnx_runtime
from stream_infer.models.buckets import bucket_of, buckets_to, part_of
from stream_infer.models.onnx_lanes import Lanes
from stream_infer.models.onnx_runtime import OnnxModel, OverBoundError
from stream_infer.models.placement import ON_CPU, DeviceError, Placement, first_usable
from stream_infer.scorer import Scorer
from stream_infer.windows.layout import Layout
from stream_infer.windows.table import EntityTable
from tests.unit.models.test_rehearsal import SMALL, by_batch, by_value, graph
from tests.unit.windows.reference import columns_of, layout_of, profiles_of

PART = 8
LAYOUT = Layout(5, 3, 1, (1.0,), (1e3,))

Windows = NDArray[np.float32]


def squares() -> bytes:
    """Sums of squares, in an order that no batch size changes: the bits can be compared."""
    nodes = [
        helper.make_node("Mul", ["windows", "windows"], ["squares"]),
        helper.make_node("Mul", ["squares", "weights"], ["weighted"]),
        helper.make_node("Slice", ["weighted", "first", "second", "axis"], ["a"]),
        helper.make_node("Slice", ["weighted", "second", "third", "axis"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["errors"]),
    ]
    weights = [
        numpy_helper.from_array(np.linspace(0.1, 3, 15, dtype=np.float32).reshape(5, 3), "weights"),
        *(
            numpy_helper.from_array(np.array([n], np.int64), name)
            for n, name in enumerate(("first", "second", "third"))
        ),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    given_, wanted = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", rows, 3])
        for name, rows in (("windows", 5), ("errors", 1))
    )
    made = helper.make_graph(nodes, "g", [given_], [wanted], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def in_lanes(content: bytes, placement: Placement = ON_CPU, part: int = PART) -> OnnxModel:
    whole = OnnxModel.open(content, ("small", "1"), LAYOUT, placement)
    return OnnxModel(whole.session, ("small", "1"), LAYOUT, Lanes(whole.session, LAYOUT, part))


def some(count: int, seed: int = 0) -> Windows:
    return np.random.default_rng(seed).normal(size=(count, 5, 3)).astype(np.float32)


WHOLE = OnnxModel.open(squares(), ("small", "1"), LAYOUT)
PARTED = in_lanes(squares())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 1]) | st.integers(0, 9 * PART),
    st.integers(0, 1 << 16),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_bits_are_those_of_one_run(count: int, seed: int, step: int, turned: bool) -> None:
    windows = some(count * step, seed)[::step]
    if turned:
        windows = np.asfortranarray(windows)

    np.testing.assert_array_equal(PARTED.score(windows), WHOLE.score(windows))


@pytest.mark.parametrize("count", [3, 3 * PART])
def test_another_type_or_shape_is_refused_as_in_one_run(count: int) -> None:
    windows = some(count)
    for other in (windows.astype(np.float64), windows[:, :4], windows[:, :1], windows[..., None], windows[0]):
        for model in (WHOLE, PARTED):
            with pytest.raises(Exception, match=r"(?i)invalid|cast|wanted"):
                model.score(other)
    np.testing.assert_array_equal(PARTED.score(some(count)), WHOLE.score(some(count)))


@pytest.mark.parametrize("at", [0, 3 * PART + 6, 7 * PART - 1])
def test_a_part_that_fails_is_raised_and_leaves_the_lanes_to_others(at: int) -> None:
    model = in_lanes(by_value(), SMALL)
    good = np.zeros((7 * PART, 5, 3), np.float32)
    bad = good.copy()
    bad[at] = 1.0  # asks for 4 GB

    for _ in range(3):  # more failures than there are lanes
        with pytest.raises(OverBoundError, match=r"56 windows.*model\.memory_bytes"):
            model.score(bad)
    for count in (5, PART, 3):  # parts that do not fill the bucket in which it was
        np.testing.assert_array_equal(model.score(good[:count]), np.zeros((count, 1, 3), np.float32))
    np.testing.assert_array_equal(model.score(good), np.zeros((7 * PART, 1, 3), np.float32))


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    """16 MiB for each window, and 256 MiB to have: the bucket of 32 does not fit, nor does that of 16."""
    layout = layout_of(window=5, features=3, terms=1)
    profiles = profiles_of(layout, (b"a",))
    scorer = Scorer(in_lanes(by_batch(), SMALL, 32), profiles, layout, EntityTable(layout, profiles))
    features = np.random.default_rng(1).normal(size=(20, 3))
    columns = columns_of([b"a"] * 20, list(range(20)), features)

    scored, scores, rejects = scorer.score(columns, np.zeros(20, np.int32), np.arange(20))

    assert scored.tolist() == list(range(20))
    assert np.isfinite(scores.score).all()
    assert sum(len(some_rejects) for some_rejects in rejects) == 0


def test_warm_up_keeps_to_parts_that_fit() -> None:
    whole = OnnxModel.open(by_batch(), ("small", "1"), LAYOUT, SMALL)
    lanes = Lanes(whole.session, LAYOUT, 64)

    lanes.warm_up()

    assert lanes.part in {4, 8}  # of 8, two may lack memory at once
    assert lanes(np.zeros((3, 5, 3), np.float32)).shape == (3, 1, 3)


def test_a_model_that_cannot_score_at_all_does_not_warm_up() -> None:
    whole = OnnxModel.open(by_batch(), ("small", "1"), LAYOUT, Placement(memory_bytes=1 << 20))

    with pytest.raises(Exception, match="BFCArena"):
        Lanes(whole.session, LAYOUT, 64).warm_up()


@pytest.fixture
def gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done to open a model on a GPU is done, on the provider for the CPU."""
    monkeypatch.setitem(onnx_runtime._PROVIDERS, "cuda", "CPUExecutionProvider")


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("gpu_is_the_cpu")
def test_a_model_for_a_gpu_is_opened_with_warm_lanes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        model = OnnxModel.open(squares(), ("small", "1"), LAYOUT, Placement("cuda", batch_max=2_000))

    assert caplog.records[-1].message == "lanes warm"
    assert "512" in str(caplog.records[-1].__dict__)
    np.testing.assert_array_equal(model.score(some(1_999)), WHOLE.score(some(1_999)))


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("gpu_is_the_cpu")
def test_where_a_gpu_cannot_score_the_next_device_may() -> None:
    identity = ("unfit", "1")
    with pytest.raises(DeviceError, match=r'cannot score there: .*model\.device = "cpu"'):
        OnnxModel.open(uneven(), identity, LAYOUT, Placement("cuda"))

    def opened(placement: Placement) -> OnnxModel:
        return OnnxModel.open(uneven(), identity, LAYOUT, placement)

    assert first_usable(Placement("cuda", fallback=True), opened)[1] == "cpu"


def uneven() -> bytes:
    """A graph that fails on each batch: it adds seven columns for each window to three."""
    steps = [
        helper.make_node("Shape", ["windows"], ["n"], start=0, end=1),
        helper.make_node("Mul", ["n", "seven"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["x"]),
    ]
    return graph(steps, numpy_helper.from_array(np.array([7], np.int64), "seven"))


def lane_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("onnx-lane")}


def test_threads_go_with_the_model_and_not_before_its_last_batch() -> None:
    """As when a model is swapped for the next: the old one is let go while a batch is in it."""
    before = lane_threads()
    old, new = in_lanes(squares()), in_lanes(squares())
    found: list[Windows] = []
    windows = some(20_000)

    asking = threading.Thread(target=lambda score=old.score: found.append(score(windows)))
    asking.start()
    del old
    np.testing.assert_array_equal(new.score(windows[:99]), WHOLE.score(windows[:99]))
    threads = lane_threads() - before
    assert threads
    asking.join(60)
    np.testing.assert_array_equal(found[0], WHOLE.score(windows))

    del asking, new
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_buckets_and_parts() -> None:
    assert [bucket_of(count) for count in (0, 1, 2, 3, 64, 65, 4096)] == [1, 1, 2, 4, 64, 128, 4096]
    assert buckets_to(8) == (1, 2, 4, 8)
    assert [part_of(most) for most in (1, 100, 256, 1_000, 2_000, 4_096)] == [1, 128, 256, 256, 512, 1_024]
