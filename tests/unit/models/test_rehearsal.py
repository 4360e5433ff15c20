"""Models that pass the scan and would take all memory or time are refused; ordinary ones are not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream_infer.cli import main
from stream_infer.errors import ModelError
from stream_infer.models import Artifact, OnnxModel, load_model, rehearsal, survived
from stream_infer.models.export.convert import Target, convert
from stream_infer.models.onnx_runtime import OverBoundError
from stream_infer.models.onnx_scan import scan
from stream_infer.models.placement import Placement
from stream_infer.models.rehearsal import rehearse
from tests.runtimes import drawn_artifact

BOUND = 256 << 20
SMALL = Placement(memory_bytes=BOUND)
node = helper.make_node


@pytest.fixture(autouse=True)
def nothing_survived(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(survived, "_HERE", set())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def floats(name: str, values: NDArray[np.floating] | float) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def graph(nodes: Iterable[onnx.NodeProto], *weights: TensorProto) -> bytes:
    """Bytes of a model whose errors are the windows' mean plus the tensor ``x`` of these nodes."""
    whole = [
        *nodes,
        node("ReduceMean", ["windows"], ["mean"], axes=[1], keepdims=1),
        node("Add", ["mean", "x"], ["errors"]),
    ]
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", 5, 3])
    errors = helper.make_tensor_value_info("errors", TensorProto.FLOAT, ["n", 1, 3])
    made = helper.make_graph(whole, "g", [windows], [errors], list(weights))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    scan(content, "a hostile model")  # what is tested here begins where the scan ends
    return content


def largest(tensor: str) -> onnx.NodeProto:
    return node("ReduceMax", [tensor], ["x"], keepdims=0)


def filled() -> bytes:
    """4 GiB of zeros, from a shape that is a constant."""
    return graph([node("ConstantOfShape", ["shape"], ["big"]), largest("big")], ints("shape", 1 << 30))


def outer_sum() -> bytes:
    """A column added to a row: 3.6 GB without an operator that makes sizes."""
    column = floats("column", np.ones((30_000, 1)))
    return graph(
        [node("Transpose", ["column"], ["row"]), node("Add", ["column", "row"], ["big"]), largest("big")],
        column,
    )


def doubled() -> bytes:
    """The windows beside themselves, 40 times over."""
    names = ["windows", *(f"twice{n}" for n in range(40))]
    steps = [node("Concat", [one, one], [two], axis=0) for one, two in pairwise(names)]
    return graph([*steps, largest(names[-1])])


def by_batch() -> bytes:
    """16 MiB for each window of a batch."""
    steps = [
        node("Shape", ["windows"], ["n"], start=0, end=1),
        node("Mul", ["n", "each"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["big"]),
        largest("big"),
    ]
    return graph(steps, ints("each", 4 << 20))


def by_value() -> bytes:
    """4 GB for each unit of the largest value: nothing at zeros."""
    steps = [
        node("ReduceMax", ["windows"], ["most"], keepdims=0),
        node("Mul", ["most", "each"], ["wanted"]),
        node("Cast", ["wanted"], ["whole"], to=TensorProto.INT64),
        node("Reshape", ["whole", "one"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["big"]),
        node("ReduceSum", ["big"], ["x"], keepdims=0),
    ]
    return graph(steps, ints("one", 1), floats("each", 1e9))


def endless() -> bytes:
    """Products of constants: all of the work is done while the model is opened."""
    steps = [node("Expand", ["tiny", "shape"], ["p0"])]
    steps += [node("MatMul", [f"p{n}", "p0"], [f"p{n + 1}"]) for n in range(200)]
    return graph([*steps, largest("p200")], floats("tiny", [[1e-3]]), ints("shape", 2000, 2000))


def saved(content: bytes, artifact: Artifact, folder: Path) -> Path:
    Artifact.of(artifact.manifest, content, artifact.profiles).save(folder)
    return folder


@pytest.mark.parametrize("hostile", [filled, outer_sum, doubled, by_batch])
def test_a_model_that_wants_all_memory_is_refused(
    hostile: object, artifact: Artifact, tmp_path: Path
) -> None:
    folder = saved(hostile(), artifact, tmp_path / "hostile")  # type: ignore[operator]

    with pytest.raises(ModelError, match=r"hostile/model\.onnx: .*memory.*Cure: "):
        load_model(folder, SMALL)


def test_a_model_that_wants_all_time_is_refused(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_CPU_S", 1)
    folder = saved(endless(), artifact, tmp_path / "hostile")

    with pytest.raises(ModelError, match=r"hostile/model\.onnx: .*more than 1 s of processor time.*Cure: "):
        load_model(folder)


def test_a_runtime_that_crashes_takes_the_child_alone(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os, sys; sys.stdin.buffer.read(); os.abort()"
    monkeypatch.setattr(rehearsal, "_COMMAND", (rehearsal.sys.executable, "-c", crash))
    artifact.save(tmp_path / "crashing")

    with pytest.raises(ModelError, match=r"crashing/model\.onnx: .*died of signal 6.*Cure: "):
        load_model(tmp_path / "crashing")


def test_a_child_that_says_nothing_is_waited_for_so_long(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rehearsal, "_COMMAND", (rehearsal.sys.executable, "-c", "import time; time.sleep(600)")
    )
    monkeypatch.setattr(rehearsal, "_WALL_S", 0.5)
    artifact.save(tmp_path / "silent")

    with pytest.raises(ModelError, match=r"silent/model\.onnx: not opened and warmed up within"):
        load_model(tmp_path / "silent")


def test_values_that_no_trial_has_seen_take_no_memory_either(artifact: Artifact, tmp_path: Path) -> None:
    """Zeros are harmless, one window asks for 4 GB: that call fails, the next does not."""
    model = load_model(saved(by_value(), artifact, tmp_path / "sly"), SMALL).model
    windows = np.zeros((4, 5, 3), np.float32)
    assert model.score(windows).shape == (4, 1, 3)

    windows[2] = 1.0
    with pytest.raises(OverBoundError, match=r"model\.memory_bytes"):
        model.score(windows)

    assert model.score(windows[:2]).shape == (2, 1, 3)


def test_each_session_has_a_bound_of_its_own(artifact: Artifact) -> None:
    windows = np.full((1, 5, 3), 0.1, np.float32)  # 400 MB
    identity, layout = ("sly", "1"), artifact.manifest.layout
    narrow = OnnxModel.open(by_value(), identity, layout, SMALL)
    wide = OnnxModel.open(by_value(), identity, layout, Placement(memory_bytes=4 * BOUND))

    assert wide.score(windows).shape == (1, 1, 3)
    with pytest.raises(OverBoundError):
        narrow.score(windows)


@pytest.mark.parametrize("target", [None, "onnx", "onnx-int8", "onnx-fp16"])
def test_ordinary_models_pass(target: Target | None, tmp_path: Path) -> None:
    """Every part that a family has, as trained and in each other form."""
    made = drawn_artifact()
    content = made.model if target is None else convert(made.model, target)
    folder = saved(content, made, tmp_path / "ordinary")

    assert load_model(folder, SMALL).manifest.name == "contract"


def test_commands_refuse_it_with_the_file_and_the_cure(artifact: Artifact, tmp_path: Path) -> None:
    folder = saved(filled(), artifact, tmp_path / "hostile")

    for words in (["bench-model", str(folder)], ["export", "--model", str(folder), "--to", "onnx"]):
        options = [] if words[0] == "bench-model" else ["--data", __file__, "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(main, [*words, *options])
        assert result.exit_code == ModelError.exit_code
        assert "hostile/model.onnx: " in result.output
        assert "Cure: " in result.output


def test_what_is_pinned_in_the_manifest_is_what_the_child_opens(artifact: Artifact, tmp_path: Path) -> None:
    """The child is given bytes, not a file that may have changed meanwhile."""
    folder = saved(artifact.model, artifact, tmp_path / "changing")
    loaded = Artifact.load(folder)
    (folder / "model.onnx").write_bytes(filled())

    rehearse(loaded, folder)


def test_a_model_that_comes_again_is_not_tried_again(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact.save(tmp_path / "again")
    load_model(tmp_path / "again")
    monkeypatch.setattr(rehearsal, "_COMMAND", ("/no/such/program",))

    load_model(tmp_path / "again")
    monkeypatch.setattr(survived, "_HERE", set())
    load_model(tmp_path / "again")  # in another process of this machine
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "again", SMALL)  # that was not asked of it


def test_a_machine_remembers_so_many_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(survived, "_KEPT", 2)
    for number, digest in enumerate("abc"):
        survived.note_survivor(digest)
        os.utime(tmp_path / "cache/stream-infer/rehearsed" / digest, (number, number))
    survived.note_survivor("d")
    monkeypatch.setattr(survived, "_HERE", set())

    assert [digest for digest in "abcd" if survived.has_survived(digest)] == ["c", "d"]


def test_without_a_place_to_remember_it_holds_for_the_process(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact.save(tmp_path / "once")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    load_model(tmp_path / "once")
    monkeypatch.setattr(rehearsal, "_COMMAND", ("/no/such/program",))

    load_model(tmp_path / "once")
