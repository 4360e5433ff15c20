"""The artifact on disk: what comes back is what was written, and nothing else is taken."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stream_infer.build.model import model_of
from stream_infer.config.model import ModelSettings
from stream_infer.errors import ModelError
from stream_infer.models.artifact import _SIZE_LIMITS, Artifact, pack_profiles, unpack_profiles

FILES = ("manifest.json", "model.onnx", "profiles.npz")


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    path = tmp_path / "models" / "small"
    artifact.save(path)
    return path


def test_round_trip_is_lossless(artifact: Artifact, saved: Path) -> None:
    loaded = Artifact.load(saved, pinned_sha256=artifact.sha256)

    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    assert (loaded.manifest, loaded.model, loaded.sha256) == (
        artifact.manifest,
        artifact.model,
        artifact.sha256,
    )
    assert loaded.profiles.names == artifact.profiles.names
    for field in ("center", "spread", "error_sd", "scale", "threshold"):
        expected, actual = getattr(artifact.profiles, field), getattr(loaded.profiles, field)
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


def test_the_settings_pin_an_artifact(artifact: Artifact, saved: Path) -> None:
    at_hand, _ = model_of(ModelSettings(path=saved, sha256=artifact.sha256))
    assert at_hand.loaded.manifest == artifact.manifest
    with pytest.raises(ModelError, match="is pinned"):
        model_of(ModelSettings(path=saved, sha256="0" * 64))


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_anywhere_is_refused(artifact: Artifact, saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    for position in {0, len(content) // 3, len(content) // 2, len(content) - 2}:
        changed = content.copy()
        changed[position] ^= 1
        (saved / name).write_bytes(changed)

        with pytest.raises(ModelError, match=name):
            Artifact.load(saved, pinned_sha256=artifact.sha256)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_changed_file_is_refused_without_a_pin(saved: Path, name: str) -> None:
    with (saved / name).open("ab") as file:
        file.write(b"\0")

    with pytest.raises(ModelError, match=rf"{name}.*not the file the manifest names.*stream-infer train"):
        Artifact.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()

    with pytest.raises(ModelError, match=rf"{name}: cannot be read: No such file"):
        Artifact.load(saved)


def test_no_artifact_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stream-infer train"):
        Artifact.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("window", 0, "window"),
        ("window", "5", "window"),
        ("missing", "guess", "missing"),
        ("features", ["a", "a", "b"], "feature named twice: a"),
        ("terms", [], "terms"),
        ("terms", [{"name": "x", "smoothing": 0, "clip": 1.0}], "terms.0.smoothing"),
        ("surprise", 1, "surprise"),
        ("name", "../elsewhere", "name"),
        ("files", {"../model.onnx": {"bytes_count": 1, "sha256": "0" * 64}}, "files"),
        ("files", {}, "files"),
        ("format", 2, "format"),
    ],
)
def test_a_wrong_manifest_names_the_field(saved: Path, key: str, value: object, words: str) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest[key] = value
    (saved / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelError, match=words):
        Artifact.load(saved)


def test_a_manifest_that_is_no_json(saved: Path) -> None:
    (saved / "manifest.json").write_text("{")

    with pytest.raises(ModelError, match=r"manifest\.json: the whole file: Invalid JSON"):
        Artifact.load(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [("center", np.nan), ("threshold", np.inf), ("scale", 0.0), ("error_sd", -1.0), ("spread", 0.0)],
)
def test_profiles_that_cannot_be_used(artifact: Artifact, field: str, value: float) -> None:
    array = getattr(artifact.profiles, field).copy()
    profiles = dataclasses.replace(artifact.profiles)
    object.__setattr__(profiles, field, array)
    array.flat[1] = value

    with pytest.raises(ModelError, match=field):
        unpack_profiles(pack_profiles(profiles), artifact.manifest.layout, "profiles.npz")


def test_profiles_of_another_layout(artifact: Artifact) -> None:
    layout = dataclasses.replace(artifact.manifest.layout, features=4)

    with pytest.raises(ModelError, match="center is float64"):
        unpack_profiles(pack_profiles(artifact.profiles), layout, "profiles.npz")


def test_pickled_arrays_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "profiles.npz"
    np.savez(path, names=np.array([{"a": 1}], dtype=object))

    with pytest.raises(ModelError, match="allow_pickle"):
        unpack_profiles(path.read_bytes(), artifact.manifest.layout, str(path))


@pytest.mark.parametrize("name", FILES[:2])
def test_a_huge_file_is_refused_before_it_is_read(saved: Path, name: str) -> None:
    with (saved / name).open("r+b") as file:
        file.truncate(_SIZE_LIMITS[name] + 1)

    with pytest.raises(ModelError, match=rf"{name}: larger than \d+ MiB"):
        Artifact.load(saved)


def test_profiles_that_unpack_to_too_much_are_refused(artifact: Artifact) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("center.npy", b"")
        archive.writestr("spread.npy", b"")
    content = packed.getvalue()
    sizes = [entry.start() + 24 for entry in re.finditer(b"PK\x01\x02", content)]
    bomb = bytearray(content)
    for at in sizes:  # what the directory of the archive says of each
        bomb[at : at + 4] = (0xFFFFFFFE).to_bytes(4, "little")

    with pytest.raises(ModelError, match="unpacks to more than 4 GiB"):
        unpack_profiles(bytes(bomb), artifact.manifest.layout, "profiles.npz")


def test_an_array_that_says_it_is_larger_than_memory_is_refused(artifact: Artifact) -> None:
    header = io.BytesIO()
    said = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    np.lib.format.write_array_header_1_0(header, said)  # type: ignore[arg-type]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("names", "name_ends", "center", "spread", "error_sd", "scale", "threshold"):
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(64))

    with pytest.raises(ModelError, match="not the profiles of this model"):
        unpack_profiles(packed.getvalue(), artifact.manifest.layout, "profiles.npz")


def test_saving_replaces_an_artifact_and_leaves_nothing_else(artifact: Artifact, saved: Path) -> None:
    newer = Artifact.of(
        artifact.manifest.model_copy(update={"version": "2"}), artifact.model, artifact.profiles
    )

    newer.save(saved)

    assert Artifact.load(saved).manifest.version == "2"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_saving_spares_a_folder_of_something_else(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(ModelError, match="not a model artifact"):
        artifact.save(tmp_path)

    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_crash_while_writing_leaves_the_old_artifact(
    artifact: Artifact, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Artifact.of(
        artifact.manifest.model_copy(update={"version": "2"}), artifact.model, artifact.profiles
    )

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ModelError, match="No space left"):
        newer.save(saved)

    assert Artifact.load(saved).manifest.version == "1"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_the_same_content_gives_the_same_bytes(artifact: Artifact) -> None:
    again = Artifact.of(artifact.manifest, artifact.model, artifact.profiles)

    assert again.sha256 == artifact.sha256
