"""``stream-infer model``: versions of a model, and which of them an alias means."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.cli.rejects import parse_since, parse_span
from stream_infer.errors import ModelRegistryError

if TYPE_CHECKING:
    from stream_infer.model_history import Stretch
    from stream_infer.model_registry.registry import Catalogue, ModelRegistry, ModelVersion

__all__ = ["command"]

_TIMEOUT_S = 10.0


def _registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options that say which model of which registry, as the parameter ``registry``."""

    @functools.wraps(function)
    def opened(
        model: str,
        registry_url: str | None,
        username: str | None,
        password: str | None,
        token: str | None,
        **others: Any,
    ) -> Any:
        from stream_infer.model_registry.source import Login, ModelSource, open_registry  # noqa: PLC0415

        source = ModelSource.parse(model)
        if source.wanted is not None:
            raise click.BadParameter(f"{model!r}: leave out @{source.wanted} here", param_hint="MODEL")
        return function(
            registry=open_registry(source, Login(registry_url, username, password, token)), **others
        )

    names = ("REGISTRY_TOKEN", "REGISTRY_PASSWORD", "REGISTRY_USERNAME")
    for name in names:
        option = f"--{name.lower().replace('_', '-')}"
        parameter = name.lower().removeprefix("registry_")
        opened = click.option(
            option,
            parameter,
            envvar=f"STREAM_INFER__MODEL__{name}",
            help="Login of the registry; best by environment.",
        )(opened)
    opened = click.option(
        "--registry-url",
        envvar="STREAM_INFER__MODEL__REGISTRY_URL",
        metavar="URL",
        help="Address of the MLflow server, for models:/NAME.",
    )(opened)
    return click.argument("model")(opened)


@click.group()
def command() -> None:
    """List, register, promote and roll back the versions of a model.

    MODEL is a folder of versions (models/detector) or a model of an MLflow server (models:/detector). A worker whose
    model.source is MODEL@ALIAS follows the alias: what is promoted here is swapped in there without a stop.
    """


@command.command("list")
@_registry_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_versions(registry: ModelRegistry, *, as_json: bool) -> None:
    """List the versions, the newest first, with their aliases."""
    versions = _catalogue(registry).versions()
    for version in versions:
        click.echo(json.dumps(asdict(version)) if as_json else _line(version))
    if not versions and not as_json:
        click.echo("no versions; add one with `stream-infer model register ARTIFACT MODEL`", err=True)


@command.command()
@_registry_options
@click.argument("wanted")
def show(registry: ModelRegistry, wanted: str) -> None:
    """Show what an alias or a version is: artifact, run, metrics."""
    version = registry.resolve(wanted)
    for name in ("name", "version", "uri", "run_link"):
        click.echo(f"{name:10} {getattr(version, name) or '-'}")
    click.echo(f"{'aliases':10} {', '.join(version.aliases) or '-'}")
    for name, value in sorted(version.metrics.items()):
        click.echo(f"metric     {name} = {value:g}")


@command.command()
@click.argument("artifact", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--alias", help="Also let this alias mean it.")
@_registry_options
def register(registry: ModelRegistry, artifact: Path, alias: str | None) -> None:
    """Add an artifact of `stream-infer train` to MODEL, after verifying it."""
    from stream_infer.models.artifact import Artifact  # noqa: PLC0415

    manifest = Artifact.load(artifact).manifest
    version = _catalogue(registry).add(artifact, manifest.version, manifest.metrics)
    click.echo(f"registered {version.name} {version.version} from {artifact}")
    if alias:
        _point(registry, alias, version.version)


@command.command()
@_registry_options
@click.argument("version")
@click.option("--alias", default="current", show_default=True, help="The alias that is to mean it.")
@click.option(
    "--on-verdict",
    is_flag=True,
    help="Only when the verdict on VERSION beside what the alias means is `promote`: wait for it.",
)
@click.option(
    "--since", metavar="TIME", help="With --on-verdict: only one given later than this (15m, 2h, 7d ago)."
)
@click.option(
    "--timeout",
    default="1d",
    show_default=True,
    metavar="TIME",
    help="With --on-verdict: wait so long (15m, 2h).",
)
@click.option("--once", is_flag=True, help="With --on-verdict: look once, do not wait.")
@config_option
def promote(
    registry: ModelRegistry,
    version: str,
    alias: str,
    config_path: Path,
    since: str | None,
    timeout: str,
    *,
    on_verdict: bool,
    once: bool,
) -> None:
    """Let an alias mean VERSION (or what another alias means now).

    With --on-verdict it waits until `stream-infer compare` has judged the two versions, as scored by the worker and the
    shadow of -c. It moves the alias when the verdict is promote, and ends with exit code 9 when it is keep, or not
    promote in time.
    """
    if not on_verdict:
        _point(registry, alias, registry.resolve(version).version)
        return
    from stream_infer.build.compare import verdict_news  # noqa: PLC0415
    from stream_infer.promotion import Promotion  # noqa: PLC0415

    config, since_ms = load_config(config_path), parse_since(since, time.time()) if since else 0
    timeout_s = 0.0 if once else parse_span(timeout, "--timeout")
    with verdict_news(config) as news:
        promotion = Promotion(registry, alias, version, config.shadow.id, since_ms, news)
        click.echo(f"{alias} -> {promotion.wait(timeout_s).version}")


@command.command()
@_registry_options
@click.option("--alias", default="current", show_default=True, help="The alias to set back.")
@click.option(
    "--to", "version", help="To this version; else to the newest one older than the alias means now."
)
@click.option(
    "--rescore",
    "bad",
    metavar="BAD",
    help="Away from this version, and correct the scores that it gave (-c).",
)
@config_option
def rollback(
    registry: ModelRegistry, alias: str, version: str | None, bad: str | None, config_path: Path
) -> None:
    """Let an alias mean an earlier version again.

    With --rescore BAD all events that the version BAD scored are scored again by the earlier one, their windows filled
    by the events before. What it says of them goes to output.correction_topic, each once; the header
    stream_infer.corrects marks it. Interrupted, the same command goes on where it was; done, it does nothing.
    """
    now = registry.resolve(alias)
    if bad is None:
        _point(registry, alias, version or _before(registry, now))
        return
    from stream_infer.cli.rescore import rescore  # noqa: PLC0415

    found = registry.resolve(bad)
    if found.version != bad:
        raise click.BadParameter(f"{bad!r}: name the version, here {found.version}", param_hint="--rescore")
    good = registry.resolve(version or _before(registry, found))
    if now.version == bad:
        _point(registry, alias, good.version)
    elif now.version != good.version:
        raise ModelRegistryError(
            f"{alias} means {now.version}, neither {bad} nor {good.version}. Cure: --to {now.version} to have it score "
            f"again what {bad} scored, or another --alias"
        )
    rescore(config_path, registry, found, good)


@command.command()
@config_option
@click.option("--since", metavar="TIME", help="Newer than this: 90s, 15m, 2h, 7d ago, or 2026-01-31T12:00.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def history(config_path: Path, since: str | None, *, as_json: bool) -> None:
    """List which offsets of which partition each version scored, as the scored topic says."""
    from stream_infer.build.events import scored_schemas_of  # noqa: PLC0415
    from stream_infer.model_history import HistoryReader  # noqa: PLC0415
    from stream_infer.topic_reader import TopicReader  # noqa: PLC0415

    config = load_config(config_path)
    kafka, topic = config.kafka, config.output.scored_topic
    client, extra = kafka.client_settings(), kafka.consumer_settings()
    reader = TopicReader.open(client, extra, topic, "output.scored_topic", _TIMEOUT_S)
    try:
        spans = reader.spans(parse_since(since, time.time()) if since else -1)
        for stretch in HistoryReader(scored_schemas_of(config)).stretches(reader.chunks(spans)):
            click.echo(json.dumps(asdict(stretch)) if as_json else _stretch_line(stretch))
    finally:
        reader.close()


def _stretch_line(stretch: Stretch) -> str:
    offsets = f"{stretch.first}-{stretch.last}"
    return (
        f"[{stretch.partition}] {offsets:>24}  {stretch.events:>12,} events  {stretch.name} {stretch.version}"
    )


def _point(registry: ModelRegistry, alias: str, version: str) -> None:
    registry.point(alias, version)
    click.echo(f"{alias} -> {version}")


def _before(registry: ModelRegistry, now: ModelVersion) -> str:
    versions = [version.version for version in _catalogue(registry).versions()]
    older = versions[versions.index(now.version) + 1 :] if now.version in versions else []
    if not older:
        raise ModelRegistryError(
            f"no version older than {now.version} to go back to. Cure: name one with --to (`stream-infer model list`)"
        )
    return older[0]


def _catalogue(registry: ModelRegistry) -> Catalogue:
    from stream_infer.model_registry.registry import Catalogue  # noqa: PLC0415

    if not isinstance(registry, Catalogue):
        raise ModelRegistryError(
            f"{type(registry).__name__} neither lists nor takes versions. Cure: use the registry's own tools for that"
        )
    return registry


def _line(version: ModelVersion) -> str:
    aliases = f"  [{', '.join(version.aliases)}]" if version.aliases else ""
    return f"{version.version:24} {version.uri}{aliases}"
