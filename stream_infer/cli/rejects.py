"""``stream-infer rejects``: read the records that could not be scored, and send them back."""

from __future__ import annotations

import functools
import heapq
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.errors import BrokerError, ConfigError, StreamInferError
from stream_infer.log import escaped

if TYPE_CHECKING:
    from stream_infer.config import Config
    from stream_infer.reject_topic import Filter, RejectTopic, StoredReject

__all__ = ["command", "parse_since", "parse_span"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which rejects are meant, as the one parameter ``wanted``."""

    @functools.wraps(function)
    def filtered(stage: str | None, error: str | None, since: str | None, **others: Any) -> Any:
        return function(wanted=_filter(stage, error, since), **others)

    for option in (
        click.option(
            "--since", metavar="TIME", help="Newer than this: 90s, 15m, 2h, 7d ago, or 2026-01-31T12:00."
        ),
        click.option("--error", metavar="CLASS", help="Of this error class, such as truncated."),
        click.option("--stage", type=click.Choice(["decode", "window", "score"]), help="Of this stage."),
    ):
        filtered = option(filtered)
    return filtered


@click.group()
def command() -> None:
    """Read the records that could not be scored, and send them back."""


@command.command("list")
@config_option
@_filters
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Newest so many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_rejects(config_path: Path, wanted: Filter, limit: int, *, as_json: bool) -> None:
    """List the newest rejects, oldest first."""
    config = load_config(config_path)
    found = 0

    def counted(rejects: Iterator[StoredReject]) -> Iterator[StoredReject]:
        nonlocal found
        for stored in rejects:
            found += 1
            yield stored

    with _opened(config) as topic:
        newest = heapq.nlargest(limit, counted(topic.select(wanted)), key=lambda one: one.reject.time_ms)
    newest.sort(key=lambda one: (one.reject.time_ms, one.partition, one.offset))
    for stored in newest:
        click.echo(json.dumps(_row(stored)) if as_json else _line(stored))
    if not as_json:
        click.echo(f"{len(newest)} of {found} rejects" if found else "no rejects", err=True)


@command.command()
@config_option
@click.argument("partition", type=click.IntRange(0))
@click.argument("offset", type=click.IntRange(0))
def show(config_path: Path, partition: int, offset: int) -> None:
    """Show one reject: its headers, key and value byte by byte, and its fields where they can be read."""
    config = load_config(config_path)
    with _opened(config) as topic:
        stored = topic.record(partition, offset)
    if stored is None:
        raise BrokerError(f"{config.output.reject_topic}[{partition}]@{offset} is no reject")
    for name, text in _row(stored).items():
        click.echo(f"{name:18} {text}")
    for name, value in stored.headers:
        if not name.startswith("stream_infer."):
            shown = "null" if value is None else escaped(value[:200].decode("utf-8", "replace"))
            click.echo(f"header {escaped(name, 100):11} {shown}")
    for part, value in (("key", stored.key), ("value", stored.value)):
        click.echo(f"{part}: {'null' if value is None else f'{len(value)} bytes'}")
        for line in hexdump((value or b"")[:4096]):
            click.echo(f"  {line}")
    if stored.value is not None:
        for line in _decoded(config, stored.value, stored.reject.schema_id).splitlines():
            click.echo(f"  {escaped(line)}")


@command.command()
@config_option
@_filters
@click.option("--to", metavar="TOPIC", help="Send there instead of the input topic.")
@click.option(
    "--limit", type=click.IntRange(1), default=100_000, show_default=True, help="Send at most so many."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def replay(
    config_path: Path, wanted: Filter, to: str | None, limit: int, *, dry_run: bool, yes: bool
) -> None:
    """Send rejects back as they were: same key, value, headers, time and partition.

    They stay in the reject topic. A record that still cannot be scored is rejected anew.
    """
    config = load_config(config_path)
    target = to or config.input.topic
    if target in {config.output.reject_topic, config.output.scored_topic, config.state.topic}:
        raise ConfigError(f"--to {target} is a topic this worker writes; name the input topic or another")
    partition_count = _partition_count(config, target)
    with _opened(config) as topic:
        count = sum(1 for _ in zip(range(limit), topic.select(wanted), strict=False))
        if not count or dry_run:
            click.echo(f"{count} rejects {'would be sent' if dry_run else 'to send'} to {target}")
            return
        if not yes:
            click.confirm(f"Send {count} rejects to {target}?", abort=True)
        from stream_infer.reject_topic import Replay  # noqa: PLC0415 (slow; --help does without)

        sender = Replay.open(config.kafka.producer_settings(), target, partition_count)
        # New rejects may have come since the question: no more than the answer was about.
        sent = sender.send(topic.select(wanted), count)
    click.echo(f"{sent} rejects sent to {target}")


@contextmanager
def _opened(config: Config) -> Iterator[RejectTopic]:
    from stream_infer.reject_topic import RejectTopic  # noqa: PLC0415

    kafka = config.kafka
    topic = RejectTopic.open(
        kafka.client_settings(), kafka.consumer_settings(), config.output.reject_topic, timeout_s=10
    )
    try:
        yield topic
    finally:
        topic.close()


def _partition_count(config: Config, name: str) -> int:
    from stream_infer.cluster import Cluster  # noqa: PLC0415

    topic = Cluster.open(config.kafka.admin_settings()).topics([name]).get(name)
    if topic is None:
        raise BrokerError(f"topic {name} does not exist: name another by --to")
    return topic.partition_count


def _decoded(config: Config, value: bytes, schema_id: int | None) -> str:
    """The datum in JSON, or why there is none to show."""
    from stream_infer.build.events import schemas_of  # noqa: PLC0415
    from stream_infer.peek import peek  # noqa: PLC0415

    schemas = schemas_of(config)
    if schemas.framed and schema_id is None:
        return "cannot be decoded: it does not begin with a schema id"
    try:
        schema = schemas.get(schema_id or 0)
    except StreamInferError as error:
        return f"cannot be decoded: {error}"
    return peek(schema.text, schema.references, value[5:] if schemas.framed else value)


def _filter(stage: str | None, error: str | None, since: str | None) -> Filter:
    from stream_infer.reject_topic import Filter  # noqa: PLC0415

    return Filter(stage, error, parse_since(since, time.time()) if since else -1)


def parse_span(text: str, option: str) -> float:
    """Return the seconds of ``15m``."""
    span_s = _span_s(text)
    if span_s is None:
        raise click.BadParameter(f"{text!r}: write 90s, 15m, 2h or 7d", param_hint=option)
    return span_s


def _span_s(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    return float(int(found[1]) * _UNITS_S[found[2]]) if found else None


def parse_since(text: str, now_s: float) -> int:
    """Return the epoch ms of ``15m`` (ago) or of an ISO time (UTC where it names no zone)."""
    span_s = _span_s(text)
    if span_s is not None:
        return int((now_s - span_s) * 1000)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: write 90s, 15m, 2h, 7d, or 2026-01-31T12:00", param_hint="--since"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def hexdump(data: bytes) -> Iterator[str]:
    """Yield lines of 16 bytes: position, hexadecimal, printable ASCII."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:06x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  {text}"


def _row(stored: StoredReject) -> dict[str, Any]:
    reject = stored.reject
    return {
        "partition": stored.partition,
        "offset": stored.offset,
        "time": _iso(reject.time_ms),
        "stage": reject.stage,
        "error": reject.error,
        "reason": reject.reason,
        "source_topic": reject.source.topic,
        "source_partition": reject.source.partition,
        "source_offset": reject.source.offset,
        "source_time": _iso(reject.source_time_ms),
        "schema_id": reject.schema_id,
        "model_version": reject.model_version,
        "value_bytes": None if stored.value is None else len(stored.value),
    }


def _line(stored: StoredReject) -> str:
    reject = stored.reject
    source = f"{reject.source.topic}[{reject.source.partition}]@{reject.source.offset}"
    where = f"{stored.partition} {stored.offset}"
    return f"{where:>10}  {_iso(reject.time_ms)}  {reject.stage}/{reject.error}  {source}  {reject.reason}"


def _iso(epoch_ms: int) -> str | None:
    # Headers may hold any integer: those outside the calendar are no times.
    if not 0 <= epoch_ms < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds")
