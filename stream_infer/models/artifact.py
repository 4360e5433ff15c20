"""The artifact: a directory with manifest.json, profiles.npz and the model: model.onnx, or model.safetensors for torch.

It is read once, and the bytes that were hashed are the bytes that are used. It is written under another
name and moved into place, so a crash leaves the old artifact or none, never half of one. No format in it
can run code: JSON, arrays without pickle, and a graph that is scanned before it is opened.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.manifest import FileDigest, Manifest
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles

__all__ = ["MANIFEST", "MODEL", "PROFILES", "TORCH_MODEL", "Artifact", "pack_profiles", "unpack_profiles"]

MANIFEST = "manifest.json"
MODEL = "model.onnx"
TORCH_MODEL = "model.safetensors"
PROFILES = "profiles.npz"

_SIZE_LIMITS = {MANIFEST: 4 << 20, MODEL: 1 << 30, TORCH_MODEL: 1 << 30, PROFILES: 4 << 30}
_ARRAYS = {
    "names": np.uint8,
    "name_ends": np.int64,
    "center": np.float64,
    "spread": np.float64,
    "error_sd": np.float32,
    "scale": np.float64,
    "threshold": np.float64,
}


@dataclass(frozen=True)
class Artifact:
    """A verified artifact in memory.

    ``file`` is the name of the model's file, and says which runtime opens it. ``sha256`` is the digest of the manifest
    file; as that holds the other files' digests, it pins every byte.
    """

    manifest: Manifest
    model: bytes
    profiles: Profiles
    sha256: str
    file: str = MODEL

    @classmethod
    def of(cls, manifest: Manifest, model: bytes, profiles: Profiles, file: str = MODEL) -> Artifact:
        """Make a new artifact; ``manifest.files`` is filled in here."""
        files = {file: FileDigest.of(model), PROFILES: FileDigest.of(pack_profiles(profiles))}
        manifest = manifest.model_copy(update={"files": files})
        return cls(manifest, model, profiles, hashlib.sha256(manifest.to_json()).hexdigest(), file)

    def altered(self, manifest: Manifest, profiles: Profiles | None = None) -> Artifact:
        """The same model with another manifest, and other profiles where they are given."""
        return Artifact.of(manifest, self.model, profiles or self.profiles, self.file)

    @classmethod
    def load(cls, path: Path | str, pinned_sha256: str | None = None) -> Artifact:
        """Read and verify the artifact in the directory ``path``.

        ``pinned_sha256``, where given, must be the digest of the manifest file. Raises ModelError, which
        names the file at fault and the cure.
        """
        path = Path(path)
        if not path.is_dir():
            raise ModelError(
                f"{path}: no model artifact here; make one with `stream-infer train --data DATA --out {path}`"
            )
        content = _read(path / MANIFEST)
        found = hashlib.sha256(content).hexdigest()
        if pinned_sha256 is not None and found != pinned_sha256.lower():
            raise ModelError(
                f"{path / MANIFEST}: its SHA-256 is {found}, but {pinned_sha256} is pinned; "
                "deploy the artifact that was pinned, or pin this one after checking where it comes from"
            )
        manifest = Manifest.from_json(content, str(path / MANIFEST))
        file = TORCH_MODEL if TORCH_MODEL in manifest.files else MODEL
        if set(manifest.files) != {file, PROFILES}:
            raise ModelError(
                f"{path / MANIFEST}: files: must name {PROFILES}, {MODEL} or {TORCH_MODEL}, and nothing else"
            )
        model, packed = (_read_verified(path / name, manifest.files[name]) for name in (file, PROFILES))
        return cls(
            manifest, model, unpack_profiles(packed, manifest.layout, str(path / PROFILES)), found, file
        )

    def save(self, path: Path | str) -> None:
        """Write the artifact to the directory ``path``, replacing an artifact that is there.

        Raises ModelError when ``path`` is something else than an
        artifact, or cannot be written.
        """
        path = Path(path)
        if path.exists() and not (path / MANIFEST).is_file():
            raise ModelError(f"{path}: exists and is not a model artifact; choose another --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise ModelError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            self._write_files(staging)
            _move_into_place(staging, path)
        except OSError as error:
            raise ModelError(f"{path}: cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _write_files(self, directory: Path) -> None:
        contents = {
            self.file: self.model,
            PROFILES: pack_profiles(self.profiles),
            MANIFEST: self.manifest.to_json(),
        }
        for name, content in contents.items():
            with (directory / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        directory.chmod(0o755)


def pack_profiles(profiles: Profiles) -> bytes:
    """Return the bytes of ``profiles.npz``; the same profiles always give the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        "names": np.frombuffer(b"".join(profiles.names), np.uint8),
        "name_ends": np.cumsum([len(name) for name in profiles.names], dtype=np.int64),
        "center": profiles.center,
        "spread": profiles.spread,
        "error_sd": profiles.error_sd,
        "scale": profiles.scale,
        "threshold": profiles.threshold,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, dtype in _ARRAYS.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its fixed date keeps the bytes the same
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.ascontiguousarray(arrays[name], dtype=dtype), allow_pickle=False
                )
    return buffer.getvalue()


def unpack_profiles(content: bytes, layout: Layout, source: str) -> Profiles:
    """Read ``profiles.npz`` and check it against the layout. ``source`` names the file in the error.

    Raises ModelError for anything that is not finite arrays of the right names, types and shapes.
    """
    try:
        _check_unpacked_size(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
        _check_arrays(arrays, layout)
        text, ends = arrays.pop("names").tobytes(), arrays.pop("name_ends").tolist()
        names = tuple(text[start:end] for start, end in zip([0, *ends], ends, strict=False))
        return Profiles(names=names, **arrays)
    except (KeyError, ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, ModelError) as error:
        raise ModelError(
            f"{source}: not the profiles of this model: {error}; "
            "make the artifact anew with `stream-infer train`"
        ) from error


def _check_unpacked_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _SIZE_LIMITS[PROFILES]:
            raise ValueError("it unpacks to more than 4 GiB")


def _check_arrays(arrays: dict[str, NDArray[np.generic]], layout: Layout) -> None:
    ends = arrays["name_ends"]
    rows, terms, features = len(ends) + 1, layout.terms, layout.features
    shapes = {
        "names": (int(ends[-1]) if len(ends) else 0,),
        "name_ends": (rows - 1,),
        "center": (rows, features),
        "spread": (rows, features),
        "error_sd": (rows, terms, features),
        "scale": (rows, terms),
        "threshold": (rows,),
    }
    for name, dtype in _ARRAYS.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shapes[name]:
            raise ValueError(f"{name} is {array.dtype}{array.shape}, not {np.dtype(dtype)}{shapes[name]}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds a value that is not finite")
    if (np.diff(ends, prepend=0) <= 0).any():
        raise ValueError("an entity has no name")


def _read(path: Path) -> bytes:
    limit = _SIZE_LIMITS[path.name]
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror}; an artifact has {MANIFEST}, {PROFILES} and "
            f"{MODEL} or {TORCH_MODEL}, copy it whole or make it anew with `stream-infer train`"
        ) from error
    if len(content) > limit:
        raise ModelError(f"{path}: larger than {limit >> 20} MiB, no artifact of stream-infer is")
    return content


def _read_verified(path: Path, expected: FileDigest) -> bytes:
    content = _read(path)
    found = FileDigest.of(content)
    if found != expected:
        raise ModelError(
            f"{path}: not the file the manifest names (SHA-256 {found.sha256[:12]}…, "
            f"expected {expected.sha256[:12]}…): it was changed or copied in part; "
            "restore the artifact or make it anew with `stream-infer train`"
        )
    return content


def _move_into_place(staging: Path, path: Path) -> None:
    """Move in two renames, as a directory cannot be replaced in one. Between them there is no artifact."""
    if not path.exists():
        staging.rename(path)
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.rename(replaced)
    try:
        staging.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
