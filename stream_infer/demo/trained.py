"""The model of the demo: trained once per data file and version of the code, then kept in the user's cache."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import stream_infer
from stream_infer.cache import cache_dir
from stream_infer.errors import ModelError
from stream_infer.models.artifact import Artifact

__all__ = ["CANDIDATE_TRAINING", "TRAINING", "cached_model", "is_whole", "require_fit"]

TRAINING = ("--name", "demo", "--family", "ensemble")
"""Options of `stream-infer train`: the family with the fewest false alarms on the packaged sample."""

CANDIDATE_TRAINING = ("--name", "candidate", "--family", "forecast")
"""Those of the shadow's model: one part of the ensemble alone, which costs less to run. Is it as good?"""

_LEARNING_CODE = ("models/**/*.py", "windows/*.py", "scorer.py")


def cached_model(data: Path, training: tuple[str, ...]) -> Path:
    """Return where the model that this training of this data by this code gives is, or is to be made."""
    digest = hashlib.sha256(_code_digest(training))
    with data.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return cache_dir() / "models" / f"{training[1]}-{digest.hexdigest()[:16]}"


def require_fit(option: str, model: Path, features: tuple[str, ...]) -> None:
    """Raise ModelError where the model is damaged, or wants a feature that the data has not."""
    manifest = Artifact.load(model).manifest
    missing = [name for name in manifest.features if name not in features]
    if missing:
        raise ModelError(
            f"{option} {model}: takes {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}, which the data "
            "has no column for; give the --data it was trained on, or leave it out"
        )


def is_whole(model: Path) -> bool:
    """Whether a model is there and undamaged; a damaged one is removed."""
    try:
        Artifact.load(model)
    except ModelError:
        shutil.rmtree(model, ignore_errors=True)
        return False
    return True


def _code_digest(training: tuple[str, ...]) -> bytes:
    """Digest of the code that decides what a model is: a change of it makes new models."""
    digest = hashlib.sha256(" ".join(training).encode())
    package = Path(stream_infer.__file__).parent
    for pattern in _LEARNING_CODE:
        for path in sorted(package.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.digest()
