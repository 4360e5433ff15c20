"""Structured logs: one line per event that matters, never one per record.

    2026-11-24T17:19:07.123Z INFO assigned partitions=[0,1] epoch=3
    {"time": "2026-11-24T17:19:07.123Z", "level": "info", "event": "assigned", "partitions": [0, 1], ...}

Names of events are past participles or nouns (``assigned``, ``drained``, ``commit_unknown``); quantities
carry their unit in the field's name.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, Literal, TextIO

__all__ = ["SECRET_NAME", "Logger", "configure", "escaped", "get_logger"]

SECRET_NAME = re.compile(r"password|secret|token$|\.pem$|oauthbearer\.config$|jaas", re.IGNORECASE)
"""Names of fields and settings whose values are never shown."""

_LONGEST = 2000


def escaped(text: str, longest: int = _LONGEST) -> str:
    r"""Make ``text`` safe for one line: control characters as ``\x1b``, cut at ``longest`` characters.

    Records come from strangers: a reason that holds a line break or a colour code must not forge log lines.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


class Logger:
    """Events with fields, over the logger of the standard library of the same name."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        """Tell what only a developer wants to know."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Tell a change of the ordinary course."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what the worker recovers from."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, *, raised: BaseException | None = None, **fields: Any) -> None:
        """Tell what it does not recover from; ``raised`` adds its traceback."""
        self._log(logging.ERROR, event, fields, raised)

    def _log(
        self, level: int, event: str, fields: dict[str, Any], raised: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=raised, extra={"fields": fields}, stacklevel=3)


def get_logger(name: str) -> Logger:
    """Return the logger of a module: pass ``__name__``."""
    return Logger(logging.getLogger(name))


def configure(
    form: Literal["text", "json"] = "text", level: str = "info", stream: TextIO | None = None
) -> None:
    """Send this package's log lines to ``stream`` (standard error) in this form."""
    target = logging.StreamHandler(stream or sys.stderr)
    target.setFormatter(_Text() if form == "text" else _Json())
    package = logging.getLogger("stream_infer")
    for old in package.handlers[:]:
        package.removeHandler(old)
    package.addHandler(target)
    package.setLevel(level.upper())
    package.propagate = False


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The record's fields, secrets as stars."""
    given: dict[str, Any] = getattr(record, "fields", {})
    return {name: "***" if SECRET_NAME.search(name) else value for name, value in given.items()}


def _time(record: logging.LogRecord) -> str:
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{second}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    """``time LEVEL event field=value ...``; values with a space are quoted; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_time(record), record.levelname, escaped(record.getMessage())]
        parts += [f"{name}={_written(value)}" for name, value in _fields(record).items()]
        lines = [" ".join(parts)]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += [f"    {escaped(line)}" for line in trace.splitlines()]
        return "\n".join(lines)


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": escaped(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _written(value: Any) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return (
            "["
            + ",".join(map(_written, sorted(value) if isinstance(value, set | frozenset) else value))
            + "]"
        )
    if isinstance(value, float):
        return f"{value:.6g}"
    text = escaped(str(value))
    return text if text and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)
