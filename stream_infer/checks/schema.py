"""Schemas: one of them must have the fields that [input] names."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from stream_infer.avro.compiler import compile_program
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.fields import Fields
from stream_infer.avro.registry import Registry
from stream_infer.avro.schema import SchemaText, parse
from stream_infer.build.events import fields_of
from stream_infer.checks.world import Skipped, World
from stream_infer.config import Config
from stream_infer.errors import ConfigError, RegistryError, StreamInferError

__all__ = ["schema"]

_NO_SUCH_SUBJECT = (40401, 40402)  # the registry's codes: no such subject, no version of it


def schema(world: World) -> str:
    """Ask the registry, or read the files."""
    config = world.config
    return _registry(world) if config.registry.url and not config.input.schema_file else _files(world)


def _wanted(world: World) -> Fields:
    if world.manifest is None:
        raise Skipped("needs the model")
    return fields_of(world.config, world.manifest.features)


def _registry(world: World) -> str:
    """Ask the registry for the newest schema of the topic, if it has one yet."""
    fields = _wanted(world)
    subject = f"{world.config.input.topic}-value"
    found = _latest(world.config, subject)
    if found is None:
        return (
            f"registry reached; no schema of {subject} yet, so the first event's is looked at when it comes"
        )
    version, schema_id = found
    registry = world.config.registry
    schemas = Registry(registry.client_settings(), registry.timeout_s)
    try:
        _takes(f"{subject} version {version}", schemas.get(schema_id), fields)
    finally:
        schemas.close()
    return f"{subject} version {version} (id {schema_id}) has every field"


def _latest(config: Config, subject: str) -> tuple[int, int] | None:
    """Version and id of a subject's newest schema; None where it has none. Raises RegistryError."""
    from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError  # noqa: PLC0415 (slow)

    registry = config.registry
    settings = {**registry.client_settings(), "timeout": registry.timeout_s, "max.retries": 1}
    try:
        with closing(SchemaRegistryClient(settings)) as client:
            newest = client.get_latest_version(subject)
    except SchemaRegistryError as error:
        if error.error_code in _NO_SUCH_SUBJECT:
            return None
        said = f"answers {error.http_status_code}: {error.error_message}; check registry.username and registry.password"
    except Exception as error:  # noqa: BLE001 (the client lets whatever its HTTP library raises through)
        said = (
            f"cannot be reached: {error or type(error).__name__}; correct the address or start the registry"
        )
    else:
        return int(newest.version or 0), int(newest.schema_id or 0)
    raise RegistryError(f"registry.url = {registry.url} {said}")


def _files(world: World) -> str:
    """Read the schema files: at least one of them must have the fields."""
    fields = _wanted(world)
    config = world.config
    one = config.input.schema_file
    if one is not None:
        if not one.is_file():
            raise ConfigError(f"input.schema_file = {one} does not exist: give the path of an .avsc file")
        _takes(f"input.schema_file = {one}", SchemaText(one.read_text(encoding="utf-8")), fields)
        return f"{one.name} has every field"
    assert config.registry.dir is not None  # one of the three is set: Config sees to it
    return _folder(config.registry.dir, fields)


def _folder(folder: Path, fields: Fields) -> str:
    schemas = SchemaDirectory(folder)
    schemas.check()
    said = []
    for file in sorted(folder.glob("*.avsc")):
        named = re.match(r"\d+", file.name)
        try:
            _takes(file.name, schemas.get(int(named[0])) if named else SchemaText(""), fields)
        except ConfigError as error:
            said.append(str(error))
        else:
            return f"{file.name} has every field"
    why = "; ".join(said[:3]) or "it holds no .avsc file"
    raise ConfigError(f"registry.dir = {folder} has no schema with the fields of [input]: {why}")


def _takes(what: str, text: SchemaText, fields: Fields) -> None:
    try:
        compile_program(parse(text), fields)
    except StreamInferError as error:
        raise ConfigError(f"{what}: {error}; correct the field names in [input]") from None
