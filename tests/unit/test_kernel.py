"""Machine code kept on disk is used again, but never after a change of any source it was made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from stream_infer import kernel

PROGRAM = """
import sys
from kernels.outer import outer
print(outer(1), sum(outer.stats.cache_hits.values()))
"""


@pytest.fixture
def kernels(tmp_path):
    folder = tmp_path / "kernels"
    folder.mkdir()
    shutil.copy(kernel.__file__, folder / "kernel.py")
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text("STEP = 1\n")
    (folder / "outer.py").write_text(
        "from kernels import inner\nfrom kernels.kernel import kernel\n\n"
        "@kernel\ndef outer(x):\n    return x + inner.STEP\n"
    )
    return folder


def run(folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder.parent,
        env={name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_code_is_kept_until_a_source_changes(kernels):
    assert run(kernels) == ["2", "0"]
    assert run(kernels) == ["2", "1"]
    (kernels / "inner.py").write_text("STEP = 50\n")
    assert run(kernels) == ["51", "0"]


def test_without_a_folder_to_write_to_it_compiles_anew(kernels):
    (kernels.parent / "file").write_text("")
    nowhere = str(kernels.parent / "file" / "cache")
    (kernels / "__pycache__").write_text("")  # numba would keep its files in there
    for _ in range(2):
        assert run(kernels, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONDONTWRITEBYTECODE="1") == ["2", "0"]


def test_on_a_full_disk_it_compiles_anew(kernels):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    (kernels / "__init__.py").write_text(full)
    assert run(kernels) == ["2", "0"]
    (kernels / "__init__.py").write_text("")
    assert run(kernels) == ["2", "0"]
    assert run(kernels) == ["2", "1"]
