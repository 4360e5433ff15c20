"""Decoding one payload for a person to read, where it can do no harm.

A reject may be hostile: five bytes can make a general Avro reader run for minutes, fill the memory, or crash the
interpreter. So it is read in a process of its own that has little time and memory:
``python -m stream_infer.peek < question > answer``, both JSON.
"""

from __future__ import annotations

import base64
import io
import json
import resource
import subprocess
import sys
from typing import Any

__all__ = ["peek"]

_TIME_S = 2
_MEMORY_BYTES = 1 << 30
_LONGEST = 20_000


def peek(schema: str, references: tuple[str, ...], body: bytes) -> str:
    """Return the datum as indented JSON, or a sentence that begins with ``cannot be decoded``.

    ``body`` is the payload without a schema id; ``references`` are the texts that ``schema`` refers to.
    """
    question = {
        "schema": schema,
        "references": references,
        "body": base64.b64encode(body).decode("ascii"),
    }
    try:
        done = subprocess.run(  # noqa: S603 (this very module)
            [sys.executable, "-m", __name__],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=_TIME_S * 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"cannot be decoded within {_TIME_S * 5} s"
    if done.returncode != 0:
        return f"cannot be decoded: it takes too much time or memory (exit {done.returncode})"
    return done.stdout.decode("utf-8", "replace")


def _answer(question: dict[str, Any]) -> str:
    import fastavro  # noqa: PLC0415 (only the child needs it, within its limits)

    named: dict[str, Any] = {}
    try:
        for text in question["references"]:
            fastavro.parse_schema(json.loads(text), named_schemas=named)
        schema = fastavro.parse_schema(json.loads(question["schema"]), named_schemas=named)
        body = io.BytesIO(base64.b64decode(question["body"]))
        datum = fastavro.schemaless_reader(body, schema, None)
        rest = len(body.getbuffer()) - body.tell()
        shown = json.dumps(datum, indent=2, default=str)
    except Exception as error:  # noqa: BLE001 (whatever a reader makes of hostile bytes)
        return f"cannot be decoded: {type(error).__name__}: {error}"
    cut = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} …"
    return f"{cut}\n{rest} bytes follow the datum" if rest else cut


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_TIME_S, _TIME_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(_answer(json.load(sys.stdin)))


if __name__ == "__main__":
    _main()
