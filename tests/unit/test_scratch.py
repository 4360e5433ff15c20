"""A temporary folder goes with its process, however that ends."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stream_infer.scratch import Scratch

HOLD = """
import sys, time
from stream_infer.scratch import Scratch
scratch = Scratch("test")
open(f"{scratch.name}/model", "w").close()
print(scratch.name, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not():
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        left = Path(process.stdout.readline().strip())
        with Scratch("test"):
            assert (left / "model").exists()
    finally:
        process.kill()
        process.communicate()
    with Scratch("other"):
        assert (left / "model").exists()
    with Scratch("test") as own:
        assert not left.exists()
        assert Path(own).exists()
    assert not Path(own).exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    unlocked, linked = tmp_path / "stream-infer-test-a", tmp_path / "stream-infer-test-b"
    unlocked.mkdir()
    linked.mkdir()
    (tmp_path / "elsewhere").touch()
    (linked / ".in-use").symlink_to(tmp_path / "elsewhere")
    with Scratch("test"):
        assert unlocked.exists()
        assert linked.exists()
