"""A candidate is tried on what the model in use has just seen, before it may score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError, ModelServerError
from stream_infer.models.loading import LoadedModel
from stream_infer.models.standard import raw, standardised

__all__ = ["Unfit", "flips"]


class Unfit(ModelError):  # noqa: N818 - what a candidate is found to be
    """A candidate that does not fit what the worker reads."""


def flips(
    windows: NDArray[np.float32], entity: NDArray[np.int64], used: LoadedModel, candidate: LoadedModel
) -> float:
    """The share of recent rows that the candidate would judge otherwise, in 0 to 1.

    ``windows`` (n, W, F) are those the model in use was given, ``entity`` (n) its profile of each. Rows count for
    themselves, without what smoothing remembers; a window is stretched to the candidate's length by its oldest row, and
    standardised anew where the candidate's profiles differ. Raises Unfit when the candidate fails on a window, or
    gives what is not finite.
    """
    if not len(windows):
        return 0.0
    profiles = _counterparts(entity, used, candidate)
    try:
        errors = candidate.model.score(_restandardised(windows, entity, profiles, used, candidate))
    except ModelServerError:
        raise
    except Exception as error:
        raise Unfit(f"it fails on windows of recent events: {type(error).__name__}: {error}") from error
    if not np.isfinite(errors).all():
        raise Unfit("its errors on windows of recent events are not finite")
    now = _over(used.model.score(windows), entity, used)
    then = _over(errors, profiles, candidate)
    return float(np.mean(now != then))


def _counterparts(entity: NDArray[np.int64], used: LoadedModel, candidate: LoadedModel) -> NDArray[np.int64]:
    """The candidate's profile of each entity: by name, the fleet's for those that it does not know."""
    numbers = {name: number for number, name in enumerate(candidate.profiles.names)}
    fleet = candidate.profiles.fleet
    by_profile = [numbers.get(name, fleet) for name in used.profiles.names]
    return np.array([*by_profile, fleet])[entity]


def _restandardised(
    windows: NDArray[np.float32],
    entity: NDArray[np.int64],
    profiles: NDArray[np.int64],
    used: LoadedModel,
    candidate: LoadedModel,
) -> NDArray[np.float32]:
    wanted = candidate.layout.window
    missing = wanted - windows.shape[1]
    if missing > 0:
        windows = np.concatenate([np.repeat(windows[:, :1], missing, axis=1), windows], axis=1)
    old, new = used.profiles, candidate.profiles
    z = windows[:, -wanted:]
    x = raw(z, old.center[entity][:, None], old.spread[entity][:, None])
    fresh = standardised(x, new.center[profiles][:, None], new.spread[profiles][:, None])
    same = (old.center[entity] == new.center[profiles]) & (old.spread[entity] == new.spread[profiles])
    return np.where(same[:, None], z, fresh)


def _over(errors: NDArray[np.float32], profile: NDArray[np.int64], loaded: LoadedModel) -> NDArray[np.bool_]:
    """Whether each row alone is over its threshold: the judge stage without what it remembers."""
    profiles, clip = loaded.profiles, np.array(loaded.layout.clip)
    e = np.minimum((errors / profiles.error_sd[profile]) ** 2, clip[:, None])
    score = (e.mean(axis=2) / profiles.scale[profile]).sum(axis=1)
    return np.asarray(score >= profiles.threshold[profile])
