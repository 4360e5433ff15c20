"""What an artifact says of itself: ``manifest.json``.

The manifest names every file with its SHA-256, so the manifest's own digest pins the whole artifact.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_infer.errors import ModelError
from stream_infer.windows.layout import Layout

__all__ = ["Alert", "FileDigest", "Manifest", "Term"]

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FileDigest(_Frozen):
    """Size and SHA-256 of one file of the artifact."""

    bytes_count: int = Field(ge=0)
    sha256: _Sha256

    @classmethod
    def of(cls, content: bytes) -> FileDigest:
        """Return the digest of these bytes."""
        return cls(bytes_count=len(content), sha256=hashlib.sha256(content).hexdigest())


class Term(_Frozen):
    """One part of the score: its errors are squared, clipped at ``clip``, smoothed with ``smoothing``."""

    name: _Name
    smoothing: float = Field(gt=0, le=1)
    clip: float = Field(gt=0)


class Alert(_Frozen):
    """When an alert ends: with ``release_rows`` rows in succession under ``release_ratio`` times the threshold."""

    release_ratio: float = Field(default=0.7, gt=0, le=1)
    release_rows: int = Field(default=10, ge=1, le=1_000_000)


class Manifest(_Frozen):
    """Everything a worker must know before it opens the model.

    ``family`` is the kind of model; ``features`` the order of the feature columns; ``window`` the rows W of a window,
    the newest included; ``data_fingerprint`` the digest of the training rows; ``metrics`` what training measured.
    """

    format: Literal[1] = 1
    name: _Name
    version: _Name
    family: str = Field(default="", max_length=64)
    features: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = Field(
        min_length=1, max_length=16_384
    )
    window: int = Field(ge=1, le=4096)
    missing: Literal["impute", "reject"]
    terms: tuple[Term, ...] = Field(min_length=1, max_length=16)
    alert: Alert = Alert()
    data_fingerprint: _Sha256
    metrics: dict[str, float]
    files: dict[_Name, FileDigest]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Manifest:
        for what, names in (("feature", self.features), ("term", tuple(term.name for term in self.terms))):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise ValueError(f"{what} named twice: {repeated[0]}")
        return self

    @property
    def layout(self) -> Layout:
        """What the window and judge stages take from the manifest."""
        return Layout(
            window=self.window,
            features=len(self.features),
            terms=len(self.terms),
            smoothing=tuple(term.smoothing for term in self.terms),
            clip=tuple(term.clip for term in self.terms),
            missing=self.missing,
            release_ratio=self.alert.release_ratio,
            release_rows=self.alert.release_rows,
        )

    def to_json(self) -> bytes:
        """Return the bytes of ``manifest.json``; the same manifest always gives the same bytes."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, source: str) -> Manifest:
        """Parse and check ``manifest.json``. ``source`` names the file in the error.

        Raises ModelError naming the first field at fault.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            message = f"{source}: {where}: {first['msg']}; make the artifact anew with `stream-infer train`"
            raise ModelError(message) from None
