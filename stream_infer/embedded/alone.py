"""What is fetched or recorded into the cache is made once, by the process that comes first; others wait for it."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone"]

_WITHIN_S = 180.0
_LOOK_S = 0.05


@contextmanager
def alone(path: Path, within_s: float = _WITHIN_S) -> Iterator[None]:
    """Keep other processes from making ``path`` meanwhile; whoever waited for ``within_s`` goes on all the same.

    Look again inside whether there is still something to do. The lock is a file beside ``path``, which stays; the
    kernel frees it when its holder dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        deadline_s = time.monotonic() + within_s
        while not _locked(file.fileno()) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
