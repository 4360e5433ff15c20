"""A challenger becomes the champion when the verdict of their comparison says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.verdict_record import StoredVerdict
from stream_infer.errors import BrokerError, ModelRegistryError, NotPromotedError, RegistryError
from stream_infer.log import get_logger
from stream_infer.model_registry.registry import ModelRegistry, ModelVersion

__all__ = ["Promotion"]

_LOG = get_logger(__name__)
_LOOK_EVERY_S = 1.0

News = Callable[[], Iterable[StoredVerdict]]
"""The verdicts that came since the last call, in their order; at first all there are."""


@dataclass(frozen=True)
class Promotion:
    """``alias`` is to mean what ``challenger`` (an alias or a version) means, if shadow ``shadow_id`` says so.

    Both are looked up again each time: a verdict counts for the two versions that they mean now, and only where it was
    given at ``since_ms`` (epoch) or later.
    """

    registry: ModelRegistry
    alias: str
    challenger: str
    shadow_id: str
    since_ms: int
    news: News

    def wait(
        self,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ModelVersion:
        """Move the alias as soon as the verdict is promote; returns what it means then.

        Raises NotPromotedError when the verdict is keep, or not promote within the time. Once it has begun, brokers
        and registries that do not answer are asked again until then.
        """
        deadline = clock() + timeout_s
        known: dict[Versions, StoredVerdict] = {}
        moved = self._look(known)
        while moved is None:
            if clock() >= deadline:
                raise NotPromotedError(self._why_not(known))
            sleep(min(_LOOK_EVERY_S, max(0.0, deadline - clock())))
            try:
                moved = self._look(known)
            except (ModelRegistryError, BrokerError, RegistryError) as error:
                if clock() >= deadline:
                    raise
                _LOG.warning("asked again in a moment", reason=str(error))
        return moved

    def _look(self, known: dict[Versions, StoredVerdict]) -> ModelVersion | None:
        """What the alias means once it is moved; None while there is no verdict."""
        known.update((stored.versions, stored) for stored in self.news())
        versions, challenger = self._now()
        if versions.primary == versions.shadow:
            return challenger
        stored = known.get(versions)
        if stored is None or stored.decided_at_ms < self.since_ms or stored.verdict == "undecided":
            return None
        if stored.verdict != "promote":
            raise NotPromotedError(
                f"the verdict on {versions.shadow} beside {versions.primary} is {stored.verdict}: {stored.reason}. "
                "Cure: train another challenger; without --on-verdict it is promoted all the same"
            )
        _LOG.info("promoting", version=versions.shadow, before=versions.primary, reason=stored.reason)
        self.registry.point(self.alias, challenger.version)
        return challenger

    def _now(self) -> tuple[Versions, ModelVersion]:
        champion, challenger = self.registry.resolve(self.alias), self.registry.resolve(self.challenger)
        return Versions(self.shadow_id, champion.version, challenger.version), challenger

    def _why_not(self, known: dict[Versions, StoredVerdict]) -> str:
        versions, _ = self._now()
        stored = known.get(versions)
        if stored is None:
            others = ", ".join(f"{v.shadow} beside {v.primary} by {v.shadow_id}" for v in list(known)[-3:])
            return (
                f"no verdict on {versions.shadow} beside {versions.primary} by the shadow {versions.shadow_id} "
                f"(there are: {others or 'none'}). Cure: see that worker, "
                "`stream-infer shadow` and `stream-infer compare` run and follow these aliases, and give it more time"
            )
        if stored.decided_at_ms < self.since_ms:
            return (
                f"the verdict on {versions.shadow} beside {versions.primary} is {stored.verdict}, but older than "
                "--since. Cure: an earlier --since"
            )
        return (
            f"the verdict on {versions.shadow} beside {versions.primary} is still {stored.verdict}: {stored.reason}. "
            "Cure: give it more time"
        )
