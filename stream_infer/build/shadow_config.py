"""The settings of a shadow, from those of its worker; apart from shadow.py, whose imports take a second of CPU."""

from __future__ import annotations

from stream_infer.config import Config
from stream_infer.config.model import ModelSettings
from stream_infer.errors import ConfigError

__all__ = ["shadow_config"]


def shadow_config(config: Config) -> Config:
    """The settings of the worker that a shadow is: its own name, model, state and port. Raises ConfigError."""
    shadow = config.shadow
    if not shadow.is_set:
        raise ConfigError(
            "neither shadow.model nor shadow.source is set: name the candidate's folder, made by `stream-infer train`, "
            "or a model and an alias, in section [shadow]"
        )
    if shadow.id == config.app.id:
        raise ConfigError(f"shadow.id = {shadow.id} is the worker's own app.id: give the shadow another")
    return config.model_copy(
        update={
            "app": config.app.model_copy(update={"id": shadow.id}),
            "state": config.state.model_copy(update={"topic": shadow.state_topic}),
            "model": _candidate_of(config),
            "control": config.control.model_copy(update={"port": shadow.port}),
        }
    )


def _candidate_of(config: Config) -> ModelSettings:
    """The candidate: in the registry of the worker's model, where it is followed.

    How often it judges otherwise is what a comparison is to find out, so no version is refused for that. It runs in the
    shadow's own process: the worker's server has the worker's model.
    """
    shadow = config.shadow
    own = {
        "path": shadow.model,
        "source": shadow.source,
        "sha256": None,
        "device": shadow.device,
        "threads": shadow.threads,
        "max_flips": 1.0,
        "server_url": None,
    }
    return config.model.model_copy(update=own)
