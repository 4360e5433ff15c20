"""Which way records take: as Message objects of confluent-kafka, or as columns past it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from stream_infer.delivery.delivery import Outbox
from stream_infer.delivery.message_intake import MessageIntake
from stream_infer.delivery.native.intake import NativeIntake
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.outbox import NativeOutbox
from stream_infer.delivery.native.proof import prove
from stream_infer.delivery.native.refusal import Refusal
from stream_infer.delivery.settings import Settings, linger_ms
from stream_infer.delivery.source import BatchLimits, Intake
from stream_infer.log import get_logger

__all__ = ["Lane", "LaneName", "Refusal"]

_LOG = get_logger(__name__)

LaneName = Literal["auto", "ordinary", "native"]


@dataclass(frozen=True, slots=True)
class Lane:
    """The parts of source and delivery that differ; without a ``library`` they are confluent-kafka's.

    ``detail`` says why it is this lane.
    """

    library: Library | None
    detail: str

    @property
    def name(self) -> str:
        """For people."""
        return "ordinary" if self.library is None else "native"

    @property
    def linger_ms(self) -> int:
        """How long the client should collect records for a request."""
        return linger_ms(native=self.library is not None)

    @classmethod
    def choose(cls, wanted: LaneName) -> Lane:
        """The native lane where it proves itself, unless another is wanted. Raises Refusal if ``native`` has to be."""
        if wanted == "ordinary":
            return cls(None, "as configured")
        began_at = time.perf_counter()
        _LOG.info("trying the native lane, the first time on a machine takes some seconds")
        try:
            library = Library.open()
            prove(library)
        except Refusal as refusal:
            if wanted == "native":
                raise
            _LOG.warning(
                "the native lane cannot be used here, the ordinary one is slower", reason=str(refusal)
            )
            return cls(None, str(refusal))
        _LOG.info("the native lane is proved", took_s=time.perf_counter() - began_at)
        return cls(library, "proved")

    def intake(self, topic: str, limits: BatchLimits) -> Intake:
        """For a source."""
        return MessageIntake(limits) if self.library is None else NativeIntake(self.library, topic, limits)

    def outbox(self, settings: Settings, timeout_s: float, early: Outbox | None = None) -> Outbox:
        """For a delivery; it goes on with what is ``early``."""
        return (
            Outbox(settings, timeout_s, early)
            if self.library is None
            else NativeOutbox(self.library, settings, timeout_s, early)
        )
