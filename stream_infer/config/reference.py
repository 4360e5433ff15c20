"""The settings as data, read off the classes: for docs/config.md, the example file and `config show`."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from stream_infer.config.loading import PREFIX
from stream_infer.config.model import PathOrAddress
from stream_infer.config.sections import Config

__all__ = ["Setting", "example", "sections", "settings", "shown"]

_EXAMPLE = {
    "app.id": "smd",
    "kafka.bootstrap_servers": "localhost:9092",
    "registry.url": "http://localhost:8081",
    "input.topic": "events",
    "input.features": "features",
    "input.entity": "entity_id",
    "input.time": "ts",
    "input.event_id": "event_id",
    "model.path": "models/smd",
}


@dataclass(frozen=True)
class Setting:
    """One setting. ``default`` is TOML text, ``""`` where it has none; ``kind`` says what may be written."""

    section: str
    name: str
    kind: str
    default: str
    required: bool
    text: str

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"{PREFIX}{self.section}__{self.name}".upper()


def sections() -> Iterator[tuple[str, str]]:
    """Name and purpose of each section."""
    for name, model in _models():
        yield name, " ".join((model.__doc__ or "").split())


def settings(section: str) -> Iterator[Setting]:
    """The settings of one section, in the order of the class."""
    model = dict(_models())[section]
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        derived = str(extra["derived"]) if isinstance(extra, dict) and "derived" in extra else None
        default = derived or (
            "" if field.is_required() else _toml(field.get_default(call_default_factory=True))
        )
        yield Setting(
            section,
            name,
            _kind(field),
            default,
            field.is_required() and not derived,
            " ".join((field.description or "").split()),
        )


def example() -> str:
    """A commented settings file that says every setting once; all but the needed ones are commented out."""
    lines = ["# Settings of a stream-infer worker. Commented-out lines show the defaults."]
    for section, text in sections():
        lines += ["", f"# {text}", f"[{section}]"]
        for setting in settings(section):
            given = _EXAMPLE.get(f"{section}.{setting.name}")
            if setting.kind == "table":
                continue
            value = json.dumps(given) if given else _default_text(setting)
            mark = "" if given else "# "
            lines.append(f"{mark}{setting.name} = {value}".ljust(44) + f" # {_short(setting.text)}")
    lines += ["", "# [kafka.consumer] and [kafka.producer] take further librdkafka settings."]
    return "\n".join(lines) + "\n"


def shown(config: Config) -> dict[str, Any]:
    """All settings in force as plain values; secrets as stars."""
    plain: dict[str, Any] = json.loads(config.model_dump_json())
    return plain


def _models() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Config.model_fields.items():
        yield name, typing.cast("type[BaseModel]", field.annotation)


def _default_text(setting: Setting) -> str:
    if "<" in setting.default:
        given = {f"<{name}>": value for name, value in _EXAMPLE.items()}
        name, tail = setting.default.split(">")
        return json.dumps(given[f"{name}>"] + tail)
    return setting.default or '"…"'


def _short(text: str) -> str:
    """The first sentence, without the marks of Markdown."""
    return re.split(r"[.;] ", text, maxsplit=1)[0].rstrip(".").replace("`", "")


def _toml(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _kind(field: FieldInfo) -> str:
    """What may be written for a setting, in words."""
    words = [word for word in map(_word, _members(field.annotation)) if word]
    limits = {type(mark).__name__: mark for mark in field.metadata}
    bounds = [
        f"{sign} {getattr(limits[name], attribute)}"
        for name, attribute, sign in (("Gt", "gt", ">"), ("Ge", "ge", ">="), ("Le", "le", "<="))
        if name in limits
    ]
    return " or ".join(dict.fromkeys(words)) + (f" {', '.join(bounds)}" if bounds else "")


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Literal, tuple, dict} or isinstance(annotation, type):
        return (annotation,)
    return tuple(one for part in typing.get_args(annotation) for one in _members(part)) or (annotation,)


def _word(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f'"{value}"' for value in typing.get_args(annotation))
    if origin is tuple:
        return "list of texts"
    if origin is dict:
        return "table"
    words = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "path",
        PathOrAddress: "path, or the address of a registry's model",
        SecretStr: "secret text",
    }
    return words.get(annotation, "")
