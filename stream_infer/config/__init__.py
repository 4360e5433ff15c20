"""The settings of a worker: frozen values, read from one TOML file and the environment."""

from stream_infer.config.kafka import Kafka
from stream_infer.config.loading import load, parse
from stream_infer.config.quarantine import Quarantine
from stream_infer.config.sections import (
    App,
    BatchSettings,
    Config,
    Control,
    Delivery,
    Input,
    Log,
    ModelSettings,
    Output,
    RegistrySettings,
    State,
)

__all__ = [
    "App",
    "BatchSettings",
    "Config",
    "Control",
    "Delivery",
    "Input",
    "Kafka",
    "Log",
    "ModelSettings",
    "Output",
    "Quarantine",
    "RegistrySettings",
    "State",
    "load",
    "parse",
]
