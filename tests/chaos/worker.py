"""The worker under test: ``stream-infer run`` of this tree, with the rig's hooks put into the built service.

    python -m tests.chaos.worker run -c worker.toml

The product has no test code: what the rig needs is patched in here. Two environment variables, which only the rig sets:

    CHAOS_MANIFEST_TOPIC   each transaction also writes what it holds (``manifest.py``) to this topic
    CHAOS_PATCHES          "module:function,…": each is called with the service before it runs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stream_infer.build import fence as product_fence
from stream_infer.cli import main

if TYPE_CHECKING:
    from stream_infer.config import Config
    from stream_infer.delivery.delivery import Outbox
    from stream_infer.service import Service

__all__ = ["run"]

_fence = product_fence.fence


def run(arguments: Sequence[str]) -> None:
    """The command line of stream-infer, with a build that applies the patches."""
    product_fence.fence = _fenced
    main(list(arguments))


@contextmanager
def _fenced(config: Config) -> Iterator[Outbox | None]:
    """The worker's own, within which it loads most of itself: what is patched must not be loaded before, either."""
    with _fence(config) as early:
        product = import_module("stream_infer.build.worker")
        build = product.build

        def patched(config: Config, early: Outbox | None) -> Service:
            return _patched(build(config, early))

        product.build = patched  # type: ignore[attr-defined]
        yield early


def _patched(service: Service) -> Service:
    topic = os.environ.get("CHAOS_MANIFEST_TOPIC")
    if topic:
        from tests.chaos.manifest import Manifests  # noqa: PLC0415 - it loads what the worker loads later

        Manifests(topic).install(service)
    for name in filter(None, os.environ.get("CHAOS_PATCHES", "").split(",")):
        module, _, function = name.partition(":")
        patch: Any = getattr(import_module(module), function)
        patch(service)
    return service


if __name__ == "__main__":
    run(sys.argv[1:])
