"""A real Confluent-compatible schema registry (Apicurio) on this machine, for the demo and the tests."""

import http.client
import json
import logging
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_infer.embedded.jars import Progress, java, registry_home
from stream_infer.embedded.ports import HOST, free_ports
from stream_infer.embedded.process import Supervisor, last_lines, port_taken
from stream_infer.errors import RegistryError

__all__ = ["EmbeddedRegistry"]

_READY_S = 120.0
_LOOK_S = 0.05
_LOG_LINES = 15
_PORT_ATTEMPTS = 3
_NAME = "registry"
_PATH = "/apis/ccompat/v7"

log = logging.getLogger(__name__)


class EmbeddedRegistry:
    """A registry on 127.0.0.1 that keeps its schemas in memory. A context manager.

    It ends with :meth:`stop`, or through its supervisor when this process dies. Errors: ConfigError (the
    extra ``embedded`` is missing), RegistryError (a file is altered, it does not start; with its last log
    lines).
    """

    def __init__(self, *, progress: Progress = log.info, grace_s: float = 2.0) -> None:
        self._progress = progress
        self._grace_s = grace_s
        self._port = 0
        self._log = Path()
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for Confluent clients."""
        self._require_started()
        return f"http://{HOST}:{self._port}{_PATH}"

    @property
    def pid(self) -> int:
        """The pid of its Java process."""
        return self._require_started().pids[_NAME]

    def start(self) -> None:
        """Start it; returns when it answers."""
        if self._supervisor is not None:
            return
        home = registry_home(self._progress)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._open(home)
            except BaseException:
                taken = port_taken(self._log)
                self.stop()
                if attempt < _PORT_ATTEMPTS and taken:
                    continue  # somebody took the port between the look and the bind
                raise
            return

    def stop(self) -> None:
        """End it. May be called twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.close()

    def _open(self, home: Path) -> None:
        self._port, management_port = free_ports(2)
        scratch = Path(tempfile.mkdtemp(prefix="stream-infer-registry-"))
        self._log = scratch / "registry.log"
        self._supervisor = Supervisor(grace_s=self._grace_s, remove=scratch)
        self._supervisor.open()
        command = [
            str(java()),
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # it answers a few requests a minute: starting fast is what counts
            "-XX:+ExitOnOutOfMemoryError",
            "--enable-native-access=ALL-UNNAMED",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={self._port}",
            f"-Dquarkus.management.host={HOST}",  # left alone it is 0.0.0.0:9000; it cannot be switched off
            f"-Dquarkus.management.port={management_port}",
            "-jar",
            str(home / "quarkus-run.jar"),
        ]
        self._supervisor.start(_NAME, command, self._log, scratch)
        self._wait_ready()

    def _wait_ready(self) -> None:
        supervisor = self._require_started()
        deadline = time.monotonic() + _READY_S
        while not _answers(self._port):
            if (status := supervisor.status(_NAME)) is not None:
                self._failed(f"ended with status {status} while starting")
            if time.monotonic() > deadline:
                self._failed(f"did not answer within {_READY_S:.0f} s")
            time.sleep(_LOOK_S)

    def _failed(self, what: str) -> None:
        lines = last_lines(self._log, _LOG_LINES)
        message = f"the embedded registry {what} (free memory may help; its log says why):\n{lines}"
        raise RegistryError(message)

    def _require_started(self) -> Supervisor:
        if self._supervisor is None:
            raise RegistryError("the embedded registry is not running: call start() first")
        return self._supervisor


def _answers(port: int) -> bool:
    """Whether the registry lists its subjects, as a client would ask for them."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5.0)
    try:
        connection.request("GET", f"{_PATH}/subjects")
        response = connection.getresponse()
        return response.status == http.client.OK and isinstance(json.loads(response.read()), list)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
