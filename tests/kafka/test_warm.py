"""``stream-infer warm`` in the build of an image: a model and settings, no broker, no registry."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.program import PROGRAM

SETTINGS = """
[app]
id = "warm"
[kafka]
bootstrap_servers = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[input]
topic = "events"
entity = "entity_id"
features = "features"
[model]
path = "{model}"
"""


def test_kernels_are_compiled_without_a_broker_and_a_registry(model: Path, tmp_path: Path) -> None:
    worker_toml = tmp_path / "worker.toml"
    worker_toml.write_text(SETTINGS.format(model=model))
    done = subprocess.run(
        [PROGRAM, "warm", "-c", worker_toml], capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "the native lane is proved" in done.stderr + done.stdout
    assert "warm took_s=" in done.stderr + done.stdout
