"""How the broker's Java is started: flags, and an AOT cache that makes it ready in a fraction of the time."""

import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

__all__ = ["Jvm"]

_FLAGS = (
    "-XX:+UseSerialGC",  # the fewest threads and the smallest footprint; pauses of a small heap are short
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class Jvm:
    """Command lines for one class path. ``heap_mib`` (MiB) bounds the heap of each process."""

    def __init__(self, java: Path, class_path: Sequence[Path], heap_mib: int) -> None:
        self._java = java
        self._class_path = class_path
        self._heap_mib = heap_mib

    def command(self, main: str, *arguments: str | Path, extra: Sequence[str] = ()) -> list[str]:
        """The command that runs class ``main``; ``extra`` are more JVM flags."""
        log4j = resources.files(__package__).joinpath("log4j2.properties")
        return [
            str(self._java),
            f"-Xmx{self._heap_mib}m",
            *_FLAGS,
            f"-Dlog4j2.configurationFile={log4j}",
            *extra,
            "-cp",
            os.pathsep.join(str(path) for path in self._class_path),
            main,
            *(str(argument) for argument in arguments),
        ]

    @property
    def fingerprint(self) -> str:
        """Differs for another Java, other jars or other flags: what an AOT cache depends on."""
        state = [" ".join(_FLAGS)]
        for path in (self._java.parent.parent / "lib" / "modules", *self._class_path):
            stat = path.stat()
            state.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
        state.append(str(self._class_path[0].parent))
        return hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]
