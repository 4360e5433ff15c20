"""An export: converted, measured on real rows beside its source, and refused outside of its bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.artifact import MODEL, Artifact
from stream_infer.models.dataset import Dataset
from stream_infer.models.export.convert import Target, convert, device_of, file_of
from stream_infer.models.export.parity import Bounds, Parity
from stream_infer.models.export.speed import Speed, speeds
from stream_infer.models.loading import LoadedModel, open_artifact
from stream_infer.models.offline import OfflineScores, score_rows
from stream_infer.models.placement import DeviceError, Placement
from stream_infer.models.progress import Progress
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable

__all__ = ["Exported", "export", "recent_windows", "scored_by"]

_WINDOWS = 4096


@dataclass(frozen=True)
class Exported:
    """The new artifact, and what was measured of it and of its source."""

    artifact: Artifact
    parity: Parity
    source: list[Speed]
    target: list[Speed]


def export(
    artifact: Artifact,
    target: Target,
    data: Dataset,
    rows: NDArray[np.int64],
    bounds: Bounds,
    progress: Progress,
) -> Exported:
    """Convert an artifact's model and hold it against the original on these rows of the data.

    The measures stand in the new manifest. Raises ModelError when a bound is passed, or the device is not there.
    """
    if artifact.file != MODEL:
        raise ModelError(
            f"export begins with the {MODEL} that training made; this artifact has {artifact.file}"
        )
    made = Artifact.of(artifact.manifest, convert(artifact.model, target), artifact.profiles, file_of(target))
    source = open_artifact(artifact, Placement())
    loaded = _opened(made, target)
    scores = [
        scored_by(model, name, data, rows, progress) for name, model in (("source", source), (target, loaded))
    ]
    parity = Parity.of(scores[0].score, scores[1].score, scores[0].threshold)
    parity.check(bounds)
    windows = recent_windows(source, data, rows)
    timed = [speeds(model.model, windows) for model in (source, loaded)]
    metrics = artifact.manifest.metrics | _metrics(parity, *timed)
    version = f"{artifact.manifest.version}-{target.removeprefix('onnx-')}"
    manifest = artifact.manifest.model_copy(update={"version": version, "metrics": metrics})
    return Exported(made.altered(manifest), parity, *timed)


def _opened(made: Artifact, target: Target) -> LoadedModel:
    try:
        return open_artifact(made, Placement(device_of(target)))
    except DeviceError as error:
        raise ModelError(
            f"export to {target} is measured on the device that it is for, which cannot be used here: {error}. Cure: "
            f"run the export on a machine with an NVIDIA GPU; or leave it out and set model.device = "
            f'"{device_of(target)}" for the worker there, which compiles the same {MODEL} at its start'
        ) from None


def recent_windows(loaded: LoadedModel, data: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The windows (n, W, F) of the first rows in time order, as a worker would give them to the model."""
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, EntityTable(loaded.layout, loaded.profiles))
    chosen = rows[np.argsort(data.time_ms[rows], kind="stable")][: 2 * _WINDOWS]
    for part in np.array_split(chosen, max(1, len(chosen) // _WINDOWS)):
        scorer.score(data.columns(part), np.zeros(len(part), np.int32), np.arange(len(part)))
    windows = scorer.recent.rows()
    assert windows is not None
    return windows[0]


def scored_by(
    loaded: LoadedModel, name: str, data: Dataset, rows: NDArray[np.int64], progress: Progress
) -> OfflineScores:
    """What a model, called so to who waits, makes of these rows."""

    def report(done: float) -> None:
        progress(f"score with {name}", done)

    return score_rows(loaded.model, loaded.profiles, data, rows, progress=report)


def _metrics(parity: Parity, source: list[Speed], target: list[Speed]) -> dict[str, float]:
    found = {
        "export_rows": float(parity.rows),
        "export_largest_difference": parity.largest_difference,
        "export_rank_agreement": parity.rank_agreement,
        "export_flips": float(parity.flips),
    }
    for side, timed in (("source", source), ("target", target)):
        for speed in timed:
            found[f"export_{side}_p50_ms_batch_{speed.batch_events}"] = speed.p50_ms
            found[f"export_{side}_events_per_s_batch_{speed.batch_events}"] = speed.events_per_s
    return found
