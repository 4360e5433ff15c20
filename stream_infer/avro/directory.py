"""Writer schemas from a folder, for those without a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from stream_infer.avro import schemas
from stream_infer.avro.schema import SchemaText
from stream_infer.avro.source import UnknownSchemaError
from stream_infer.errors import ConfigError

__all__ = ["SchemaDirectory"]

FILE_NAME: Final = re.compile(r"(\d{1,10})[-_.](.+)")
MAX_ID: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    text: str
    path: Path


class SchemaDirectory:
    """Schemas from files named ``ID-NAME.avsc``, such as ``7-event.avsc``: their ids never change.

    Payloads are in the Confluent wire format. This project's own schemas are always there, under ids of their own
    (``schemas.IDS``), unless the folder gives them others. A schema may use the types of the others. Files are read
    at the first question; a new file needs a restart.
    """

    framed = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, schema_id: int) -> SchemaText:
        """Give the schema with this id, and those that it refers to.

        Raises UnknownSchemaError if there is none, ConfigError if the folder cannot be used.
        """
        entry = self._entries.get(schema_id)
        if entry is None:
            raise UnknownSchemaError(
                f"{self._path} has no schema {schema_id}: name its file {schema_id}-NAME.avsc"
            )
        return SchemaText(entry.text, tuple(self._references(entry.text, set())))

    def id_of(self, name: str) -> int:
        """Give the id of the schema that is called ``name``. Raises ConfigError if there is none, or several."""
        ids = [schema_id for schema_id, entry in self._entries.items() if entry.name == name]
        own = schemas.IDS.get(name)
        given = [schema_id for schema_id in ids if schema_id != own] or ids
        if len(given) != 1:
            what = "several schemas" if given else "no schema"
            raise ConfigError(
                f"registry.dir: {self._path} has {what} called {name!r}; keep one file ID-{name}.avsc"
            )
        return given[0]

    def check(self) -> None:
        """Raise ConfigError, naming the file and the cure, unless the folder can be used."""
        assert self._entries

    @cached_property
    def _entries(self) -> dict[int, _Entry]:
        if not self._path.is_dir():
            raise ConfigError(f"registry.dir: {self._path} is not a folder")
        entries: dict[int, _Entry] = {}
        for path in sorted(self._path.glob("*.avsc")):
            schema_id, name = _id_and_name(path)
            if schema_id in entries:
                raise ConfigError(
                    f"registry.dir: {path} and {entries[schema_id].path} have the same id; rename one"
                )
            entries[schema_id] = _Entry(name, _read(path), path)
        for name, schema_id in schemas.IDS.items():
            path = schemas.folder() / f"{name}.avsc"
            if schema_id not in entries and path.is_file():
                entries[schema_id] = _Entry(name, _read(path), path)
        return dict(sorted(entries.items()))

    @cached_property
    def _defined_in(self) -> dict[str, str]:
        """Which text defines a top-level type, by its full name; of several the one with the highest id."""
        return {_full_name(_load(entry.text), ""): entry.text for entry in self._entries.values()}

    def _references(self, text: str, seen: set[str]) -> Iterator[str]:
        """Yield the texts that define types which ``text`` uses, each after those it needs itself."""
        node = _load(text)
        own = set(_defined(node, ""))
        seen |= own
        for name in _used(node, ""):
            if name in self._defined_in and name not in seen:
                seen.add(name)
                referred = self._defined_in[name]
                yield from self._references(referred, seen)
                yield referred


def _id_and_name(path: Path) -> tuple[int, str]:
    if path.stem in schemas.IDS:
        return schemas.IDS[path.stem], path.stem
    match = FILE_NAME.fullmatch(path.stem)
    if not match or int(match[1]) > MAX_ID:
        raise ConfigError(
            f"registry.dir: {path} does not say its schema id; rename it to ID-NAME.avsc, as in 1-{path.name}"
        )
    return int(match[1]), match[2]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"registry.dir: {path} cannot be read: {error}") from None


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # parse() says so to those who want this schema


def _full_name(node: Any, namespace: str) -> str:
    if not isinstance(node, dict) or not isinstance(node.get("name"), str):
        return ""
    name, space = node["name"], node.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def _defined(node: Any, namespace: str) -> Iterator[str]:
    """Yield the full names of the types that a schema defines."""
    for part, space in _parts(node, namespace):
        if isinstance(part, dict) and part.get("type") in ("record", "error", "enum", "fixed"):
            yield _full_name(part, space)


def _used(node: Any, namespace: str) -> Iterator[str]:
    """Yield every string of a schema as the full names it may stand for."""
    for part, space in _parts(node, namespace):
        if isinstance(part, str):
            yield part
            if space and "." not in part:
                yield f"{space}.{part}"


def _parts(node: Any, namespace: str) -> Iterator[tuple[Any, str]]:
    """Yield a schema's nodes, each with the namespace it stands in."""
    yield node, namespace
    if isinstance(node, dict):
        if node.get("type") in ("record", "error", "enum", "fixed"):
            namespace = _full_name(node, namespace).rpartition(".")[0]
        for key in ("type", "items", "values", "fields"):
            yield from _parts(node.get(key), namespace)
    elif isinstance(node, list):
        for item in node:
            yield from _parts(item, namespace)
