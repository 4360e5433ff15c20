"""The worker under test: ``stream-infer run`` of this tree, with the rig's hooks put into the built service.

    python -m tests.chaos.worker run -c worker.toml

The product has no test code: what the rig needs is patched in here. Two environment variables, which only the rig sets:

    CHAOS_MANIFEST_TOPIC   each transaction also writes what it holds (``manifest.py``) to this topic
    CHAOS_PATCHES          "module:function,…": each is called with the service before it runs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import stream_infer.build.worker as product
from stream_infer.cli import main
from stream_infer.config import Config
from stream_infer.delivery.delivery import Outbox
from stream_infer.service import Service
from tests.chaos.manifest import Manifests

__all__ = ["run"]

_build = product.build


def run(arguments: Sequence[str]) -> None:
    """The command line of stream-infer, with a build that applies the patches."""
    product.build = _patched
    main(list(arguments))


def _patched(config: Config, early: Outbox | None) -> Service:
    patches: list[Any] = []
    for name in filter(None, os.environ.get("CHAOS_PATCHES", "").split(",")):
        module, _, function = name.partition(":")
        patches.append(getattr(import_module(module), function))
    service = _build(config, early)
    topic = os.environ.get("CHAOS_MANIFEST_TOPIC")
    if topic:
        Manifests(topic).install(service)
    for patch in patches:
        patch(service)
    return service


if __name__ == "__main__":
    run(sys.argv[1:])
