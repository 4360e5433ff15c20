"""From settings to what reads and writes events: schemas, and the fields that the model takes."""

from __future__ import annotations

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.fields import Fields
from stream_infer.avro.registry import Registry
from stream_infer.avro.source import SchemaSource, SingleSchema
from stream_infer.config import Config
from stream_infer.errors import ConfigError

__all__ = ["fields_of", "own_schema_id", "schemas_of", "scored_schemas_of"]


def schemas_of(config: Config) -> SchemaSource:
    """Where the writer schemas come from: one file, a folder, or a registry."""
    if config.input.schema_file is not None:
        return SingleSchema(config.input.schema_file.read_text("utf-8"))
    registry = config.registry
    if registry.dir is not None:
        return SchemaDirectory(registry.dir)
    return Registry(registry.client_settings(), registry.timeout_s, registry.cache_dir)


def scored_schemas_of(config: Config) -> SchemaSource:
    """Where the schemas of scored events come from: as the worker wrote them."""
    schemas = schemas_of(config)
    return schemas if schemas.framed else SingleSchema(own_schemas.text("scored_event"))


def fields_of(config: Config, features: tuple[str, ...]) -> Fields:
    """What decode wants of an event, for a model that takes these features in this order."""
    given = config.input
    wanted = given.features if isinstance(given.features, str) else _ordered(given.features, features)
    return Fields(wanted, len(features), given.entity, given.time, given.event_id, given.max_event_bytes)


def _ordered(paths: tuple[str, ...], features: tuple[str, ...]) -> tuple[str, ...]:
    """The field paths in the model's order; a path stands for the feature of its full or its last name."""
    by_name = {path.rpartition(".")[2]: path for path in paths} | {path: path for path in paths}
    missing = [feature for feature in features if feature not in by_name]
    if missing:
        raise ConfigError(
            f"input.features lacks {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}, which the model takes. "
            "Cure: name the fields as the model's manifest.json does (the last part of a dotted path counts)"
        )
    return tuple(by_name[feature] for feature in features)


def own_schema_id(schemas: SchemaSource, name: str, topic: str) -> int | None:
    """The id that events of one of our own schemas carry in a topic; None (bare bodies) where the input has none."""
    if isinstance(schemas, Registry):
        return schemas.register(f"{topic}-value", own_schemas.text(name))
    if isinstance(schemas, SchemaDirectory):
        return schemas.id_of(name)
    return None
