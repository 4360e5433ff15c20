"""JSON over HTTP, with an end to everything: seconds, bytes, redirects."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from stream_infer.models.remote.asking import Refused, Unanswered

__all__ = ["JsonClient"]

_ANSWER_BYTES_MAX = 256 << 20
_OF_THE_WINDOWS = {400, 413, 422, 500}
"""What a server may say of a request's content. The rest is said of the server, the model's name or the login."""


class JsonClient:
    """Posts JSON to paths under ``url``. Threads may share it."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(base_url=url, headers=headers, follow_redirects=False)

    def post(self, path: str, content: dict[str, Any], timeout_s: float) -> Any:
        """The answer's JSON, within ``timeout_s`` over all. Raises Unanswered, Refused."""
        deadline = time.monotonic() + timeout_s
        body = json.dumps(content, allow_nan=False)
        try:
            with self._client.stream("POST", path, content=body, timeout=timeout_s) as answer:
                said = self._read(answer, deadline)
        except httpx.HTTPError as error:
            raise Unanswered(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if answer.is_success:
            try:
                return json.loads(said)
            except ValueError:
                raise Unanswered(f"{path} answers no JSON: {said[:100]!r}") from None
        told = f"{path} answers {answer.status_code} {said[:300].decode(errors='replace')}"
        raise Refused(told) if answer.status_code in _OF_THE_WINDOWS else Unanswered(told)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read(self, answer: httpx.Response, deadline: float) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _ANSWER_BYTES_MAX:
                raise Unanswered(f"answers more than {_ANSWER_BYTES_MAX >> 20} MiB")
            if time.monotonic() > deadline:
                raise Unanswered("the answer does not come to its end in time")
        return b"".join(parts)
