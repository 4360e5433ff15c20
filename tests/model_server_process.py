"""A program that serves one model, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from load.processes import family
from stream_infer.embedded.ports import HOST

__all__ = ["ModelServer", "OpenInferenceServer"]

READY_S = 180.0


class ModelServer(ABC):
    """Serves a model over HTTP; after ``kill`` it may ``start`` again. ``folder`` exists.

    ``ready_path`` answers 200 once it does. ``settings`` say, beside its address, how a worker asks it.
    """

    settings: Mapping[str, str] = {}

    def __init__(self, folder: Path, http_port: int, ready_path: str) -> None:
        self._folder = folder
        self._http_port = http_port
        self._ready_path = ready_path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self._http_port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until the model is ready."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment(),
            )
        try:
            self._wait_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it, and the processes it started, as the OOM killer would."""
        if self._process is not None:
            for pid in family(self._process.pid):  # not by its group: some have groups of their own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> Mapping[str, str] | None:
        """The variables of its process; None: those of this one."""
        return None

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_S
        while not self._ready():
            text = (self._folder / "log").read_text("utf-8", "replace")[-3000:]
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.http}{self._ready_path}", timeout=5).is_success
        except httpx.HTTPError:
            return False


class OpenInferenceServer(ModelServer):
    """Serves the model ``name`` by the Open Inference Protocol, over HTTP and gRPC."""

    def __init__(self, folder: Path, name: str, http_port: int, grpc_port: int) -> None:
        super().__init__(folder, http_port, f"/v2/models/{name}/ready")
        self._name = name
        self._grpc_port = grpc_port

    @property
    def grpc(self) -> str:
        return f"grpc://{HOST}:{self._grpc_port}"
