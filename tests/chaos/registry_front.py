"""A server in front of a real schema registry that misbehaves on demand."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

__all__ = ["MOODS", "RegistryFront"]

MOODS = (
    "down",
    "slow",
    "drips",
    "refuses",
    "error page",
    "cut short",
    "no schema",
)
"""What it can be besides "well"."""

_SLOW_S = 4.0
_DRIP_S = 0.3


class RegistryFront:
    """A context manager: passes requests on to ``target``, in its present ``mood``; ids are translated by ``ids``."""

    def __init__(self, target: str, ids: dict[int, int]) -> None:
        self.mood = "well"
        self.asked_count = 0
        self._server = _Quiet(("127.0.0.1", 0), self._answerer(target, ids))
        self._thread = threading.Thread(target=self._server.serve_forever, name="registry", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where workers find it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answerer(self, target: str, ids: dict[int, int]) -> type[BaseHTTPRequestHandler]:
        front = self

        class Answerer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.asked_count += 1
                mood = front.mood
                if mood == "down":
                    self.close_connection = True
                    return
                if mood == "slow":
                    time.sleep(_SLOW_S)
                status, body = _answer(mood, target, self.path, ids)
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(2 * len(body) if mood == "cut short" else len(body)))
                self.end_headers()
                for at in range(0, len(body), 1 if mood == "drips" else len(body) or 1):
                    self.wfile.write(body[at : at + (1 if mood == "drips" else len(body))])
                    if mood == "drips":
                        time.sleep(_DRIP_S)
                self.close_connection = mood == "cut short"

            def log_message(self, *_: Any) -> None:
                pass

        return Answerer


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that did not wait, nor of a registry that is gone."""


def _answer(mood: str, target: str, path: str, ids: dict[int, int]) -> tuple[int, bytes]:
    if mood == "refuses":
        return 503, b'{"error_code": 50301, "message": "not now"}'
    if mood == "error page":
        return 200, b"<html>a proxy's page</html>"
    if mood == "no schema":
        return 200, b'{"message": "this is no schema"}'
    head, _, number = path.partition("/schemas/ids/")
    digits = number.partition("?")[0]
    if digits.isdecimal():
        path = f"{head}/schemas/ids/{ids.get(int(digits), int(digits))}"
    answer = httpx.get(f"{target}{path}", timeout=10)
    return answer.status_code, answer.content
