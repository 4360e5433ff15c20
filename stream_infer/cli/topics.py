"""``stream-infer topics``: make the topics of a worker, or show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.errors import BrokerError

if TYPE_CHECKING:
    from stream_infer.cluster import Cluster, Topic
    from stream_infer.config import Config
    from stream_infer.topics import Plan, Role

__all__ = ["command"]


@click.group()
def command() -> None:
    """Create and show the topics of a worker."""


@command.command()
@config_option
@click.option(
    "--replication",
    type=click.IntRange(-1),
    default=-1,
    show_default=True,
    help="Copies of each partition; -1: as the brokers have it by default.",
)
@click.option("--input-partitions", type=click.IntRange(1), help="Create the input topic, too, with so many.")
@click.option("--repair", is_flag=True, help="Also set what is wrong in the settings of topics that exist.")
def create(config_path: Path, replication: int, input_partitions: int | None, *, repair: bool) -> None:
    """Create the topics that are missing, with the input's number of partitions.

    Topics that exist are left alone and verified: a topic that does not fit is an error. With
    kafka.group_protocol = "consumer" the group's session time-out is set to 3 s, too, where the brokers' minimum
    allows it: it is how long the partitions of a killed worker wait.
    """
    config = load_config(config_path)
    cluster, plan = _open(config)
    source = _input(cluster, config, replication, input_partitions)
    roles = plan.roles(source)
    found = cluster.topics(role.name for role in roles)
    from stream_infer.cluster import Topic  # noqa: PLC0415 (slow; --help does without)

    missing = [
        Topic(role.name, source.partition_count, replication, role.config)
        for role in roles
        if role.name not in found
    ]
    cluster.create(missing)
    for topic in missing:
        click.echo(f"created  {topic.name}: {topic.partition_count} partitions{_words(topic)}")
    said = [_verify(cluster, role, source, found[role.name], repair) for role in roles if role.name in found]
    wrong = [sentence for sentences in said for sentence in sentences]
    if wrong:
        raise BrokerError("\n  ".join([*wrong, _cure(config_path, source)]))
    if config.kafka.group_protocol == "consumer":
        _set_group(cluster, config.app.id)
        if config.shadow.is_set:
            _set_group(cluster, config.shadow.id)


@command.command()
@config_option
def show(config_path: Path) -> None:
    """Show the topics of a worker: partitions, copies, and what is wrong with them."""
    config = load_config(config_path)
    cluster, plan = _open(config)
    from stream_infer.topics import faults  # noqa: PLC0415

    source = cluster.topics([config.input.topic]).get(config.input.topic)
    if source is None:
        raise BrokerError(_no_input(config, config_path))
    click.echo(f"{'input.topic':22} {source.name}: {_size(source)}")
    roles = plan.roles(source)
    found = cluster.topics(role.name for role in roles)
    for role in roles:
        topic = found.get(role.name)
        click.echo(f"{role.setting:22} {role.name}: {_size(topic) if topic else 'missing'}")
        for sentence in faults(role, source, topic) if topic else ():
            click.echo(f"{'':22} {sentence}")


def _set_group(cluster: Cluster, group: str) -> None:
    from stream_infer.topics import GROUP_SETTINGS  # noqa: PLC0415

    try:
        done = cluster.configure_group(group, GROUP_SETTINGS)
    except BrokerError as error:
        click.echo(
            f"group    {group}: left as it is, a killed worker's partitions wait for its session: {error}"
        )
    else:
        click.echo(f"group    {group}: {', '.join(f'{name} = {value}' for name, value in done.items())}")


def _open(config: Config) -> tuple[Cluster, Plan]:
    from stream_infer.build.topics import plan_of  # noqa: PLC0415
    from stream_infer.cluster import Cluster  # noqa: PLC0415

    return Cluster.open(config.kafka.admin_settings()), plan_of(config)


def _input(cluster: Cluster, config: Config, replication: int, partitions: int | None) -> Topic:
    """Find the input topic; create it where it is missing and we were told how many partitions it has."""
    from stream_infer.cluster import Topic  # noqa: PLC0415

    name = config.input.topic
    source = cluster.topics([name]).get(name)
    if source is None:
        if partitions is None:
            raise BrokerError(
                f"input.topic = {name} does not exist: correct the name, or create it, too, by "
                "--input-partitions N"
            )
        made = cluster.create([Topic(name, partitions, replication)])
        click.echo(f"created  {name}: {partitions} partitions")
        return made[name]
    if partitions not in {None, source.partition_count}:
        raise BrokerError(
            f"input.topic = {name} exists and has {source.partition_count} partitions, not {partitions}: "
            "leave --input-partitions out"
        )
    click.echo(f"exists   {name}: {source.partition_count} partitions")
    return source


def _verify(cluster: Cluster, role: Role, source: Topic, topic: Topic, repair: bool) -> list[str]:  # noqa: FBT001
    """What is still wrong with an existing topic after the repair, if one was wished."""
    from stream_infer.topics import faults  # noqa: PLC0415

    wrong = faults(role, source, topic)
    if wrong and repair and topic.partition_count == source.partition_count:
        cluster.configure(topic.name, role.config)
        click.echo(f"repaired {topic.name}: {', '.join(f'{k} = {v}' for k, v in role.config.items())}")
        return []
    if not wrong:
        click.echo(f"exists   {topic.name}: {topic.partition_count} partitions")
    return wrong


def _cure(config_path: Path, source: Topic) -> str:
    return (
        f"settings: `stream-infer topics create -c {config_path} --repair` sets them. Partitions: name another "
        f"topic, or delete this one and create it again (or add partitions, up to {source.partition_count}, "
        "where its records need not stay in order)"
    )


def _no_input(config: Config, config_path: Path) -> str:
    return (
        f"input.topic = {config.input.topic} does not exist: correct the name, or "
        f"`stream-infer topics create -c {config_path} --input-partitions N`"
    )


def _size(topic: Topic) -> str:
    return f"{topic.partition_count} partitions, {topic.replica_count} copies"


def _words(topic: Topic) -> str:
    return "".join(f", {name} = {value}" for name, value in topic.config.items())
