"""``stream-infer warm`` in the build of an image: a model and settings, no broker, no registry."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.program import PROGRAM, WARM_SETTINGS


def test_kernels_are_compiled_without_a_broker_and_a_registry(model: Path, tmp_path: Path) -> None:
    worker_toml = tmp_path / "worker.toml"
    worker_toml.write_text(WARM_SETTINGS.format(model=model))
    done = subprocess.run(
        [PROGRAM, "warm", "-c", worker_toml], capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "the native lane is proved" in done.stderr + done.stdout
    assert "warm took_s=" in done.stderr + done.stdout
