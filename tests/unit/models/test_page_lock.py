"""Pages stay locked as long as the array lives. Without a GPU, a library of that name has the kernel lock them."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_infer.models.page_lock import page_lock

SOURCE = """
#include <stdint.h>
#include <sys/mman.h>
int cudaHostRegister(void *at, size_t bytes, unsigned flags) { return flags == 1 ? -mlock(at, bytes) : 1; }
int cudaHostUnregister(void *at) { return munlock(at, 1 << 20); }
"""


def locked_kib() -> int:
    found = re.search(r"VmLck:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


@pytest.mark.skipif("libcudart.so" in Path("/proc/self/maps").read_text(), reason="CUDA is in this process")
def test_without_cuda_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        assert not page_lock([np.zeros(9, np.float32)])

    assert "libcudart.so" in str(caplog.records[0].__dict__)


CHILD = """
import ctypes, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from tests.unit.models.test_page_lock import locked_kib
from stream_infer.models.page_lock import page_lock
library = ctypes.CDLL(sys.argv[1])
arrays = [np.zeros((1 << 20) // 4, np.float32) for _ in range(2)]
assert page_lock(arrays)
assert locked_kib() >= 2048, locked_kib()
view = arrays.pop()[100:]
del arrays
assert 1024 <= locked_kib() < 2048, locked_kib()
del view
assert locked_kib() < 1024, locked_kib()
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 4 << 20, reason="may not lock 2 MiB of memory"
)
def test_pages_are_locked_until_the_last_view_is_gone(tmp_path: Path) -> None:
    source, library = tmp_path / "cudart.c", tmp_path / "libcudart.so.13"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)

    # in a process of its own, which has only this library of that name
    subprocess.run([sys.executable, "-c", CHILD, library, Path.cwd()], check=True)
