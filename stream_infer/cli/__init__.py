"""The command line. Each command lives in the module of its name and is imported when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from stream_infer.errors import WorkerError
from stream_infer.log import escaped

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "run": "Score the events of a topic, until stopped.",
    "shadow": "Score the same events with a candidate model and compare, live or over the past.",
    "warm": "Compile beforehand what the first start would compile.",
    "check": "Test settings, brokers, topics, rights, model, schemas and port against the real world.",
    "topics": "Create and show the topics of a worker.",
    "rejects": "Read the records that could not be scored, and send them back.",
    "config": "Write an example of the settings, or show those in force.",
    "train": "Train a model on a file of rows.",
    "score": "Score a file of rows with a model.",
    "evaluate": "Compare scores with labels.",
    "calibrate": "Set a model's thresholds anew by recent data.",
    "export": "Export a model to another form, and prove it first.",
    "bench-model": "Time models alone, side by side.",
    "model": "List, register, promote and roll back the versions of a model.",
    "compare": "Watch or report what primary and shadow say of the same events, and the verdict.",
    "comparison": "Export the comparison topic to a file.",
    "kafka": "Hold a real Apache Kafka open on this machine until Ctrl-C.",
    "demo": "Watch the whole: a real Kafka, a model, real events, anomalies as they are scored.",
}
"""Name -> what it does. Said here so that ``--help`` imports no command."""


class Commands(click.Group):
    """A group that imports a command when it is called, and prints errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            import difflib  # noqa: PLC0415 (only wanted for a misspelt command)

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = (
                f" Did you mean {near[0]}?" if near else f" There are {', '.join(self.list_commands(ctx))}."
            )
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error on purpose is one clear text and its exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except WorkerError as error:
            for line in f"error: {error}".splitlines():
                click.echo(escaped(line), err=True)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _stopped(ctx)
        except SystemError as error:
            # Ctrl-C inside a call of the client, which returns a result nevertheless.
            if not isinstance(error.__cause__, KeyboardInterrupt):
                raise
            _stopped(ctx)


def _stopped(ctx: click.Context) -> None:
    click.echo("stopped", err=True)
    ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="stream-infer", message="%(prog)s %(version)s")
def main() -> None:
    """Score Kafka events with a model: Avro in, scored events out, exactly once."""
