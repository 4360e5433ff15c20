"""Avro schema text -> types, with every name resolved and hostile schemas refused.

Only what decoding needs is kept: defaults, docs and order have no part in reading a datum by its own
writer schema. A type that contains itself is the same object again, so the types form a graph.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from stream_infer.errors import DecodeError

__all__ = ["Field", "SchemaError", "SchemaText", "Type", "parse"]

MAX_TEXT_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 64
MAX_TYPES: Final = 20_000
MAX_SCALE: Final = 300  # 10**300 is still a float

PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class SchemaError(DecodeError):
    """A writer schema cannot be used: it is not valid Avro, or lacks a wanted field."""


@dataclass(frozen=True, slots=True)
class SchemaText:
    """A schema as its author wrote it, and the texts it refers to, each after those it needs itself."""

    text: str
    references: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Field:
    """A field of a record."""

    name: str
    aliases: tuple[str, ...]
    type: Type


@dataclass(slots=True, eq=False)
class Type:
    """One Avro type; ``kind`` says which of the rest is set.

    ``name`` (record, enum, fixed) is the full name; ``size`` (fixed) in bytes; ``items`` is what an array or
    a map holds; ``logical`` is "" unless the logical type is one that fits the kind.
    """

    kind: str
    name: str = ""
    logical: str = ""
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    fields: list[Field] = field(default_factory=list)
    branches: list[Type] = field(default_factory=list)
    items: Type | None = None

    @property
    def label(self) -> str:
        """What a person calls it, for messages."""
        if self.branches:
            return " | ".join(branch.label for branch in self.branches)
        words = self.logical or self.kind
        return f"{words} {self.name}" if self.name else words


def parse(schema: SchemaText) -> Type:
    """Read the type that ``schema`` describes. Raises SchemaError saying what is wrong and where."""
    parser = _Parser()
    for text in schema.references:
        parser.parse(_load(text))
    return parser.parse(_load(schema.text))


def _load(text: str) -> Any:
    if len(text) > MAX_TEXT_BYTES:
        raise SchemaError(f"the schema has {len(text)} characters; the limit is {MAX_TEXT_BYTES}")
    if text.strip() in PRIMITIVES:
        return text.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"the schema is not JSON: {error}") from None


class _Parser:
    """Parses texts one after the other; names defined by one are known to the next."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}
        self._count = 0

    def parse(self, node: Any) -> Type:
        return self._type(node, "", 0)

    def _type(self, node: Any, namespace: str, depth: int) -> Type:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_TYPES:
            raise SchemaError(
                f"the schema is nested deeper than {MAX_DEPTH} or has more than {MAX_TYPES} types"
            )
        if isinstance(node, str):
            return Type(node) if node in PRIMITIVES else self._reference(node, namespace)
        if isinstance(node, list):
            return self._union(node, namespace, depth)
        if not isinstance(node, dict) or "type" not in node:
            raise SchemaError(f"{_shown(node)} is not an Avro type")
        return self._complex(node, namespace, depth)

    def _complex(self, node: dict[str, Any], namespace: str, depth: int) -> Type:
        kind = node["type"]
        if kind in ("record", "error"):
            return self._record(node, namespace, depth)
        if kind == "enum":
            return self._enum(node, namespace)
        if kind == "fixed":
            return self._fixed(node, namespace)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            return Type(kind, items=self._type(_need(node, key, object), namespace, depth + 1))
        if isinstance(kind, str) and kind in PRIMITIVES:
            return _logical(Type(kind), node)
        return self._type(kind, namespace, depth + 1)

    def _reference(self, name: str, namespace: str) -> Type:
        for full in (f"{namespace}.{name}" if namespace and "." not in name else name, name):
            if full in self._named:
                return self._named[full]
        raise SchemaError(f"the schema uses the type {name!r}, which neither it nor its references define")

    def _union(self, node: list[Any], namespace: str, depth: int) -> Type:
        branches = [self._type(branch, namespace, depth + 1) for branch in node]
        if not branches:
            raise SchemaError("the schema has a union without branches")
        if any(branch.kind == "union" for branch in branches):
            raise SchemaError("the schema has a union directly within a union")
        return Type("union", branches=branches)

    def _record(self, node: dict[str, Any], namespace: str, depth: int) -> Type:
        record = self._define(Type("record"), node, namespace)
        inner = record.name.rpartition(".")[0]
        seen: set[str] = set()
        for entry in _need(node, "fields", list):
            name = _need(entry, "name", str)
            if name in seen:
                raise SchemaError(f"record {record.name} has two fields named {name!r}")
            if not name.isprintable():  # it will stand in messages and headers
                raise SchemaError(f"record {record.name} has a field named {_shown(name)}")
            seen.add(name)
            aliases = tuple(entry["aliases"]) if isinstance(entry.get("aliases"), list) else ()
            record.fields.append(
                Field(name, aliases, self._type(_need(entry, "type", object), inner, depth + 1))
            )
        return record

    def _enum(self, node: dict[str, Any], namespace: str) -> Type:
        symbols = tuple(_need(node, "symbols", list))
        if not symbols or not all(isinstance(symbol, str) and symbol.isprintable() for symbol in symbols):
            raise SchemaError(f"enum {node.get('name')!r}: symbols must be a list of at least one name")
        return self._define(Type("enum", symbols=symbols), node, namespace)

    def _fixed(self, node: dict[str, Any], namespace: str) -> Type:
        size = node.get("size")
        if type(size) is not int or not 0 <= size < 2**31:
            raise SchemaError(
                f"fixed {node.get('name')!r}: size must be a number of bytes, not {_shown(size)}"
            )
        return self._define(_logical(Type("fixed", size=size), node), node, namespace)

    def _define(self, new: Type, node: dict[str, Any], namespace: str) -> Type:
        name = _need(node, "name", str)
        if "." not in name:
            space = node["namespace"] if isinstance(node.get("namespace"), str) else namespace
            name = f"{space}.{name}" if space else name
        if not all(NAME.match(part) for part in name.split(".")) or name in PRIMITIVES:
            raise SchemaError(f"{_shown(name)} is not an Avro name")
        if name in self._named:
            raise SchemaError(f"the schema defines {name!r} twice")
        new.name = name
        self._named[name] = new
        return new


# A logical type that does not fit its kind is ignored, as the specification says.
LOGICAL: Final = {
    "date": "int",
    "time-millis": "int",
    "time-micros": "long",
    "timestamp-millis": "long",
    "timestamp-micros": "long",
    "timestamp-nanos": "long",
    "local-timestamp-millis": "long",
    "local-timestamp-micros": "long",
    "local-timestamp-nanos": "long",
    "uuid": "string",
}


def _logical(plain: Type, node: dict[str, Any]) -> Type:
    logical = node.get("logicalType")
    if not isinstance(logical, str):
        return plain
    if logical == "decimal" and plain.kind in ("bytes", "fixed"):
        return _decimal(plain, node)
    if LOGICAL.get(logical) == plain.kind:
        plain.logical = logical
    return plain


def _decimal(plain: Type, node: dict[str, Any]) -> Type:
    precision, scale = node.get("precision"), node.get("scale", 0)
    sound = type(precision) is int and type(scale) is int and precision > 0 and 0 <= scale <= precision
    if sound and scale <= MAX_SCALE and (plain.kind == "bytes" or plain.size):
        plain.logical, plain.scale = "decimal", scale
    return plain


def _need(node: Any, key: str, kind: type) -> Any:
    value = node.get(key) if isinstance(node, dict) else None
    if value is None or not isinstance(value, kind):
        raise SchemaError(f"{_shown(node)} lacks a valid {key!r}")
    return value


def _shown(node: Any) -> str:
    text = repr(node)
    return text if len(text) <= 80 else text[:77] + "..."
