"""What a wanted field is wanted for, which types can be that, and the instruction that reads each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stream_infer.avro import program as ops
from stream_infer.avro import status
from stream_infer.avro.fields import Fields
from stream_infer.avro.schema import Type

__all__ = ["Role", "Want", "instruction", "takes", "wanted"]

FEATURE: Final = "feature"
FEATURES: Final = "features"
TEXT: Final = "text"
TIME: Final = "time"

WISHES: Final = {
    FEATURE: "a number, boolean or decimal",
    FEATURES: "an array of numbers",
    TEXT: "a string, int, long, enum, bytes or fixed",
    TIME: "a timestamp, long (milliseconds), int or double (seconds) or date",
}
NUMBERS: Final = {
    "boolean": ops.BOOLEAN,
    "int": ops.INT,
    "long": ops.LONG,
    "float": ops.FLOAT,
    "double": ops.DOUBLE,
}
TEXTS: Final = {
    "string": ops.TEXT_STRING,
    "bytes": ops.TEXT_BYTES,
    "fixed": ops.TEXT_FIXED,
    "int": ops.TEXT_INT,
    "long": ops.TEXT_LONG,
    "enum": ops.TEXT_ENUM,
}
TIMES: Final = {
    ("int", ""): (ops.TIME_INT, 1000),
    ("int", "date"): (ops.TIME_INT, 86_400_000),
    ("long", ""): (ops.TIME_LONG, 1),
    ("long", "timestamp-millis"): (ops.TIME_LONG, 1),
    ("long", "timestamp-micros"): (ops.TIME_LONG, 1000),
    ("long", "timestamp-nanos"): (ops.TIME_LONG, 1_000_000),
    ("float", ""): (ops.TIME_FLOAT, 0),
    ("double", ""): (ops.TIME_DOUBLE, 0),
}


class Role(NamedTuple):
    """One use of one field: ``kind`` and the ``column`` it goes to."""

    kind: str
    column: int
    path: str

    @property
    def use(self) -> str:
        """The setting that wants the field."""
        if self.kind == TEXT:
            return "entity" if self.column == ops.ENTITY else "event_id"
        return "time" if self.kind == TIME else "features"

    @property
    def wish(self) -> str:
        """The types that would do, in words."""
        return WISHES[self.kind]

    @property
    def missing(self) -> tuple[int, int]:
        """The instruction for an event that has no value here."""
        if self.kind == FEATURE:
            return ops.MISSING, self.column
        if self.kind == FEATURES:
            return ops.FAIL, status.FEATURE_COUNT
        if self.kind == TIME:
            return ops.TIME_RECORD, 0
        if self.column == ops.ENTITY:
            return ops.FAIL, status.ENTITY_MISSING
        return ops.TEXT_MISSING, self.column


@dataclass(slots=True)
class Want:
    """What is wanted of one value: its own roles, and those of its fields by name."""

    roles: list[Role] = field(default_factory=list)
    inner: dict[str, Want] = field(default_factory=dict)

    def everything(self) -> Iterator[Role]:
        """Yield every role, here and below."""
        yield from self.roles
        for want in self.inner.values():
            yield from want.everything()


def wanted(fields: Fields) -> Want:
    """Arrange the wanted paths as a tree."""
    root = Want()
    for role in _roles(fields):
        want = root
        for name in role.path.split("."):
            want = want.inner.setdefault(name, Want())
        want.roles.append(role)
    return root


def takes(of: Type, role: Role) -> bool:
    """Whether a value of this type, which is no union, can be what the role wants."""
    if role.kind == FEATURE:
        return of.kind in NUMBERS or of.logical == "decimal"
    if role.kind == FEATURES:
        return of.items is not None and of.kind == "array" and _holds_numbers(of.items)
    if role.kind == TIME:
        return (of.kind, _instant(of)) in TIMES
    return of.kind in TEXTS and of.logical != "decimal"


def instruction(of: Type, role: Role) -> tuple[int, ...]:
    """Choose the instruction that reads a value for a role; not for arrays and enums, which take several."""
    if role.kind == TIME:
        return TIMES[of.kind, _instant(of)]
    if role.kind == TEXT:
        return TEXTS[of.kind], role.column, of.size
    if of.logical != "decimal":
        return NUMBERS[of.kind], role.column
    return (ops.DECIMAL if of.kind == "bytes" else ops.DECIMAL_FIXED), role.column, of.scale, of.size


def _roles(fields: Fields) -> Iterator[Role]:
    if isinstance(fields.features, str):
        yield Role(FEATURES, 0, fields.features)
    else:
        yield from (Role(FEATURE, column, path) for column, path in enumerate(fields.features))
    if fields.entity is not None:
        yield Role(TEXT, ops.ENTITY, fields.entity)
    if fields.event_id is not None:
        yield Role(TEXT, ops.EVENT_ID, fields.event_id)
    if fields.time is not None:
        yield Role(TIME, 0, fields.time)


def _holds_numbers(items: Type) -> bool:
    number = Role(FEATURE, ops.ELEMENT, "")
    return any(takes(branch, number) for branch in items.branches or [items])


def _instant(of: Type) -> str:
    """The logical type, a local timestamp being read as the same in UTC."""
    return of.logical.removeprefix("local-")
