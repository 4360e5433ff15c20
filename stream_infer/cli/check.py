"""``stream-infer check``: whether a worker with these settings will run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.log import escaped

__all__ = ["command"]

_COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow"}


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, config_path: Path, *, as_json: bool) -> None:
    """Test settings, brokers, topics, rights, model, schemas and port against the real world.

    Exits with 0 when all is well and with 1 when something is not; each failure says what cures it.
    Changes nothing.
    """
    config = load_config(config_path)
    from stream_infer import checks  # noqa: PLC0415 - it compiles and loads, --help does without

    found = checks.run(config, config_path)
    well = all(check.state != "failed" for check in found)
    if as_json:
        answers = [{"name": one.name, "state": one.state, "detail": one.detail} for one in found]
        click.echo(json.dumps({"ok": well, "checks": answers}, indent=2))
    else:
        for one in found:
            state = "FAILED" if one.state == "failed" else one.state
            lines = [escaped(line) for line in one.detail.splitlines()]
            click.echo(f"{click.style(f'{state:8}', fg=_COLOURS[one.state])}{one.name:14}{lines[0]}")
            for line in lines[1:]:
                click.echo(f"{'':22}{line.strip()}")
    ctx.exit(0 if well else 1)
