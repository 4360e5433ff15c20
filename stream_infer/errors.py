"""What can go wrong, by who must act.

StreamInferError
├── RecordError      one record is at fault: it becomes a reject, its neighbours go on
│   ├── DecodeError      payload -> columns
│   ├── FeatureError     columns -> window (a missing or infinite value the model does not take)
│   └── ScoreError       window -> score (the model raised, or gave NaN)
└── WorkerError      the worker or its surroundings are at fault: nothing is committed
    ├── ConfigError      exit 2    a setting is wrong; the message names the setting and the cure
    ├── ModelError       exit 3    the model artifact is missing, damaged or does not fit
    │   ├── ModelRegistryError     the model registry cannot be reached or lacks a version
    │   └── ModelServerError       exit 11: the server that runs the model does not answer well; the worker waits for it
    │       └── ModelServerGoneError   as long as it was told to
    ├── RegistryError    exit 4    the schema registry cannot be reached or lacks a needed schema
    ├── BrokerError      exit 5    Kafka cannot be reached, or refuses what the worker needs
    ├── DeliveryError    exit 6    a transaction cannot be brought to a known end
    ├── ControlError     exit 7    the control server cannot listen
    ├── StalledError     exit 8    the owner thread made no progress; the watchdog ends the process
    ├── NotPromotedError exit 9    no verdict that says promote
    └── ExhaustedError   exit 10   there is no memory left
"""

from typing import ClassVar

__all__ = [
    "BrokerError",
    "ConfigError",
    "ControlError",
    "DecodeError",
    "DeliveryError",
    "ExhaustedError",
    "FeatureError",
    "ModelError",
    "ModelRegistryError",
    "ModelServerError",
    "ModelServerGoneError",
    "NotPromotedError",
    "RecordError",
    "RegistryError",
    "ScoreError",
    "StalledError",
    "StreamInferError",
    "WorkerError",
]


class StreamInferError(Exception):
    """Any error this package raises on purpose."""


class RecordError(StreamInferError):
    """One record cannot be scored. ``stage`` is the stage that found out."""

    stage: ClassVar[str] = "record"


class DecodeError(RecordError):
    """The payload is not a valid datum of its writer schema."""

    stage = "decode"


class FeatureError(RecordError):
    """A feature is missing or infinite, and the model's manifest says reject."""

    stage = "window"


class ScoreError(RecordError):
    """The model raised on this record alone, or its score is not finite."""

    stage = "score"


class WorkerError(StreamInferError):
    """The worker cannot go on as it is. ``exit_code`` is the process's."""

    exit_code: ClassVar[int] = 1


class ConfigError(WorkerError):
    """A setting is wrong. The message names it and the cure."""

    exit_code = 2


class ModelError(WorkerError):
    """The model artifact is missing, damaged, or does not fit the input."""

    exit_code = 3


class ModelRegistryError(ModelError):
    """The model registry cannot be reached, or lacks the version or alias that is wanted."""


class ModelServerError(ModelError):
    """The server that runs the model does not answer, or not well. It may again: the batch is to be scored later."""

    exit_code = 11


class ModelServerGoneError(ModelServerError):
    """The server that runs the model was waited for long enough."""


class RegistryError(WorkerError):
    """The schema registry cannot be reached, or lacks a schema that must be there."""

    exit_code = 4


class BrokerError(WorkerError):
    """Kafka cannot be reached, or refuses what the worker needs (topic, rights)."""

    exit_code = 5


class DeliveryError(WorkerError):
    """A transaction could not be brought to a known end."""

    exit_code = 6


class ControlError(WorkerError):
    """The control server cannot listen on its address."""

    exit_code = 7


class StalledError(WorkerError):
    """The owner thread made no progress for too long."""

    exit_code = 8


class NotPromotedError(WorkerError):
    """The verdict on a candidate is not, or not yet, to promote it."""

    exit_code = 9


class ExhaustedError(WorkerError):
    """The process wants more memory than there is."""

    exit_code = 10
