"""A model server in the test's own process, so that a test can make it slow, wrong or gone.

It runs the artifact's graph and speaks the Open Inference Protocol, BentoML's and TensorFlow Serving's JSON. What real
servers say is tested against real ones (tests/kafka/test_model_server.py), and by what they write (tests/data/serving).
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.embedded.ports import HOST
from stream_infer.models.artifact import Artifact
from stream_infer.models.onnx_runtime import OnnxModel

Windows = NDArray[np.float32]
Fault = Callable[[Windows, Windows], Windows]
"""(windows, errors) -> what is said in the place of the errors. May sleep, or raise Said."""


class Said(Exception):  # noqa: N818 - an answer
    """Answer with this status and text."""

    def __init__(self, status: int, text: str = "{}") -> None:
        self.status = status
        self.text = text


class InferServer:
    """Serves one model on a port, until ``stop``; ``start`` takes the same port again.

    ``fault`` changes what it says, ``script`` says all of it; ``paths`` and ``rows`` are the requests it had.
    """

    def __init__(self, artifact: Artifact) -> None:
        manifest = artifact.manifest
        self.fault: Fault | None = None
        self.script: Callable[[str, Any], None] | None = None
        self.paths: list[str] = []
        self.rows: list[int] = []
        self._model = OnnxModel.open(artifact.model, (manifest.name, manifest.version), manifest.layout)
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def start(self) -> None:
        """Serve, unless it does."""
        if self._server is not None:
            return
        owner = self

        class Handler(_Handler):
            server_of_tests = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asked has gone: silence."""

            def process_request(self, request: Any, client_address: Any) -> None:
                owner._sockets.append(request)
                super().process_request(request, client_address)

        self._server = Server((HOST, self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """As a killed process: no port, and no connection, is left."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._sockets.clear()

    def said(self, path: str, asked: Any) -> Any:
        """The JSON of an answer."""
        self.paths.append(path)
        if self.script is not None:
            self.script(path, asked)
        predict, bento = path.endswith(":predict"), not path.startswith("/v")
        if predict:
            windows = np.array(asked["inputs"]["windows"], np.float32)
        elif bento:
            windows = np.array(asked["windows"], np.float32)
        else:
            (tensor,) = asked["inputs"]
            windows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        self.rows.append(len(windows))
        errors = self._model.score(windows)
        if self.fault is not None:
            errors = self.fault(windows, errors)
        if predict:
            return {"outputs": _plain(errors)}
        if bento:
            return _plain(errors)
        data = _plain(errors.ravel())
        output = {"name": "errors", "datatype": "FP32", "shape": list(errors.shape), "data": data}
        return {"model_name": self._model.name, "outputs": [output]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_tests: InferServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            status, text = 200, json.dumps(self.server_of_tests.said(self.path, json.loads(content)))
        except Said as answer:
            status, text = answer.status, answer.text
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Silence."""


def _plain(values: Windows) -> Any:
    """Numbers as servers write them in JSON: null for what is not finite."""
    if values.ndim == 1:
        return [float(value) if np.isfinite(value) else None for value in values]
    return [_plain(part) for part in values]


def slow(seconds: float) -> Fault:
    def fault(windows: Windows, errors: Windows) -> Windows:
        time.sleep(seconds)
        return errors

    return fault


@contextmanager
def serving(artifact: Artifact) -> Iterator[InferServer]:
    server = InferServer(artifact)
    server.start()
    try:
        yield server
    finally:
        server.stop()
