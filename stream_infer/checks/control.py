"""The port of the control server."""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPException

from stream_infer.checks.world import Skipped, World
from stream_infer.control.server import listen
from stream_infer.errors import ControlError

__all__ = ["control"]

_ANSWER_S = 5.0  # of a worker on a busy machine


def control(world: World) -> str:
    """Whether it is free, or in use by a worker of this app."""
    settings = world.config.control
    if not settings.enabled:
        raise Skipped("control.enabled = false")
    if settings.port == 0:
        return "any free port"
    try:
        listen(settings.host, settings.port).close()
    except ControlError:
        if _ours(f"http://{settings.host}:{settings.port}/status", world.config.app.id):
            return f"{settings.host}:{settings.port}, in use by a running worker of this app"
        raise
    return f"{settings.host}:{settings.port} is free"


def _ours(address: str, app: str) -> bool:
    """Whether a worker of this app answers there."""
    try:
        with urllib.request.urlopen(address, timeout=_ANSWER_S) as answer:  # noqa: S310 (always http)
            told = json.loads(answer.read(1_000_000))
    except (OSError, HTTPException, ValueError):
        return False
    return isinstance(told, dict) and dict(told.get("facts") or {}).get("app") == app
