"""A model file of unknown origin is opened and warmed up in a child process first, with its memory and time bounded.

A graph of a hundred bytes can ask for any amount of memory or work, some of it while it is opened (what is constant is
computed then), and a native runtime may crash on it. The child dies of that in the place of the process that
wants the model. rehearsal_child.py is its side of it.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stream_infer.errors import ModelError
from stream_infer.models.artifact import Artifact
from stream_infer.models.placement import ON_CPU, Placement
from stream_infer.models.survived import has_survived, note_survivor

__all__ = ["rehearse"]

_CPU_S = 30
"""Processor time that opening a model and its first calls may take. Ordinary models need a tenth of a second."""
_WALL_S = 240.0  # of a busy machine, and torch is slow to import
_COMMAND = (sys.executable, "-m", "stream_infer.models.rehearsal_child")
_RUNTIMES = ("onnxruntime", "torch")
_CURE = "Cure: take a model whose origin you know"


def rehearse(artifact: Artifact, path: Path | str, placement: Placement = ON_CPU) -> None:
    """Open the artifact of the directory ``path`` on the CPU of a child process, and score a few batches there.

    Once on a machine: a model that comes again, after a restart, a rollback or with other thresholds, is not tried
    again. Raises ModelError, with the child's words where it refuses the model, or with what became of the child.
    """
    file = Path(path) / artifact.file
    manifest = artifact.manifest
    told = {
        "file": artifact.file,
        "layout": asdict(manifest.layout),
        "threads": placement.threads,
        "memory_bytes": placement.memory_bytes,
        "cpu_s": _CPU_S,
    }
    asked = hashlib.sha256(json.dumps([told, _runtimes()]).encode() + artifact.model).hexdigest()
    if has_survived(asked):
        return
    told["identity"] = (manifest.name, manifest.version)
    process = subprocess.Popen(  # noqa: S603 - our own program
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            said, _ = process.communicate(json.dumps(told).encode() + b"\n" + artifact.model, _WALL_S)
        except subprocess.TimeoutExpired:
            raise ModelError(f"{file}: not opened and warmed up within {_WALL_S:.0f} s. {_CURE}") from None
        finally:
            process.kill()
    found = _answer(said)
    if found is None:
        raise ModelError(f"{file}: {_end(process.returncode, placement.memory_bytes)}")
    if "refused" in found:
        raise ModelError(f"{file}: {found['refused']}")
    note_survivor(asked)


def _runtimes() -> list[str]:
    """The versions of what may open a model here: another one has to survive it anew."""
    found = []
    for name in _RUNTIMES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _answer(said: bytes) -> dict[str, Any] | None:
    """The child's last words; None: it had none."""
    try:
        found = json.loads(said)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _end(code: int, memory_bytes: int) -> str:
    """What the end of a child that said nothing means."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"opening it and warming it up takes more than {_CPU_S} s of processor time, or all memory. {_CURE}"
    how = f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
    return (
        f"the process that opened it first, with {memory_bytes} bytes for its tensors, {how}. {_CURE}; or, if it is "
        "meant to be so large, raise model.memory_bytes"
    )
