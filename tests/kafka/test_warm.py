"""``stream-infer warm`` in the build of an image: a model and settings, no broker, no registry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import PROGRAM, WARM_SETTINGS

_BESIDE = """
import json, sys
from pathlib import Path
from stream_infer.build import kernels, warm
from stream_infer.cli.options import load_config

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("stream_infer.")]
    found = {
        each.__qualname__: each
        for module in modules for each in vars(module).values() if hasattr(each, "signatures")
    }
    return {name: len(kernel.signatures) for name, kernel in found.items()}

for part in kernels._PARTS:
    kernels._compile(part)
parts = compiled()
warm.warm(load_config(Path(sys.argv[1])))
print(json.dumps([parts, compiled()]))
"""


def test_kernels_are_compiled_without_a_broker_and_a_registry(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_INFER__KAFKA__LANE", "native")
    worker_toml = tmp_path / "worker.toml"
    worker_toml.write_text(WARM_SETTINGS.format(model=model))
    done = subprocess.run(
        [PROGRAM, "warm", "-c", worker_toml], capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "the native lane is proved" in done.stderr + done.stdout
    assert "warm took_s=" in done.stderr + done.stdout


def test_what_is_compiled_beside_is_what_a_worker_calls(model: Path, tmp_path: Path) -> None:
    worker_toml = tmp_path / "worker.toml"
    worker_toml.write_text(WARM_SETTINGS.format(model=model))
    done = subprocess.run(
        [sys.executable, "-c", _BESIDE, worker_toml], capture_output=True, text=True, timeout=280, check=True
    )

    parts, warm = json.loads(done.stdout.splitlines()[-1])
    assert parts == warm
    assert max(parts.values()) == 1
