"""``stream-infer run``: the worker."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.log import get_logger
from stream_infer.memory import share_arenas

if TYPE_CHECKING:
    from stream_infer.service import Service

__all__ = ["command", "stop_on_signals"]


@click.command()
@config_option
def command(config_path: Path) -> None:
    """Score the events of a topic, until stopped.

    SIGTERM or Ctrl-C finishes what is in hand, commits it and leaves the group (delivery.drain_timeout_s); a second one
    drops it: nothing is lost, the events are read again by the next owner.

    Exit codes: 0 drained, 2 settings, 3 model, 4 registry, 5 brokers, 6 delivery, 7 control server, 8 stalled,
    10 out of memory, 11 model server.
    """
    from stream_infer.build.fence import fence  # noqa: PLC0415 - --help does without
    from stream_infer.log import configure  # noqa: PLC0415

    share_arenas()
    config = load_config(config_path)
    configure(config.log.format, config.log.level)
    with fence(config) as early:
        from stream_infer.build.worker import build  # noqa: PLC0415 - it takes a second, and nobody waits for us by now
        from stream_infer.checks import require  # noqa: PLC0415

        require(config, config_path)
        service = build(config, early)
    stop_on_signals(service)
    service.run()
    get_logger("stream_infer").info("stopped")


def stop_on_signals(service: Service) -> None:
    """Let the first SIGTERM or SIGINT ask for a drain, and the second one interrupt."""

    def stop(number: int, _frame: Any) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.default_int_handler)  # the second one interrupts
        get_logger("stream_infer").info("stopping", signal=signal.Signals(number).name)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
