"""(writer schema, wanted fields) -> a decode program, or the reasons why there is none.

There is no full reader schema: a wanted field is a path, and is matched by the name of the writer's field, else by
one of its aliases. Numbers are promoted to float64. In a union each branch is compiled for itself: one that
cannot be what is wanted is read over, and the value counts as null. A null feature is missing (NaN), a null time is
the record's timestamp, a null event id is none, a null entity or feature array is a reject.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from stream_infer.avro import program as ops
from stream_infer.avro import roles
from stream_infer.avro.fields import Fields
from stream_infer.avro.program import Program
from stream_infer.avro.roles import Role, Want
from stream_infer.avro.schema import Field, SchemaError, Type

__all__ = ["compile_program"]

MAX_INSTRUCTIONS: Final = 65_536
MAX_ITEM_BYTES: Final = 2**31
MAX_NAMED: Final = 5  # problems with one schema that are told
MAX_GUESSES: Final = 300  # paths looked at for what a wrong one may have meant

LEAST_BYTES: Final = {"null": 0, "float": 4, "double": 8}  # of other kinds but fixed and record: 1
SKIPS: Final = {
    "boolean": ops.SKIP_BOOLEAN,
    "int": ops.SKIP_INT,
    "long": ops.SKIP_LONG,
    "bytes": ops.SKIP_BYTES,
    "string": ops.SKIP_STRING,
}
RUNS: Final = {ops.FLOAT: ops.FLOATS, ops.DOUBLE: ops.DOUBLES}


def compile_program(schema: Type, fields: Fields) -> Program:
    """Compile the program that takes ``fields`` out of data of ``schema``.

    Raises SchemaError naming every wanted field that is not there or cannot be what it is wanted for.
    """
    try:
        return _Compiler().compile(schema, fields)
    except RecursionError:
        raise SchemaError("the schema's types refer to each other too deeply") from None


class _Compiler:
    """Appends instructions; none may be fused with one before ``_barrier``, the last address jumped to."""

    def __init__(self) -> None:
        self._code: list[list[int]] = []
        self._paths: list[str] = []
        self._symbols = bytearray()
        self._barrier = 0
        self._calls: list[tuple[int, Type]] = []
        self._least: dict[Type, int | None] = {}
        self._found: set[Role] = set()
        self._problems: list[str] = []

    def compile(self, schema: Type, fields: Fields) -> Program:
        wanted = roles.wanted(fields)
        self._take(schema, wanted, "")
        if fields.time is None:
            self._emit("", ops.TIME_RECORD)
        self._emit("", ops.END)
        self._emit_routines()
        self._check_found(schema, wanted)
        return Program(
            np.array(self._code, np.int64), np.frombuffer(bytes(self._symbols), np.uint8), tuple(self._paths)
        )

    def _check_found(self, schema: Type, wanted: Want) -> None:
        lacking = [role for role in wanted.everything() if role not in self._found]
        problems = list(dict.fromkeys(self._problems))
        for role in lacking[:MAX_NAMED]:
            near = difflib.get_close_matches(role.path, list(islice(_paths(schema), MAX_GUESSES)), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            problems.append(f"{role.use} field {role.path!r} is not in {schema.label}{hint}")
        more = len(problems) + len(lacking[MAX_NAMED:]) - MAX_NAMED
        if problems:
            raise SchemaError("; ".join(problems[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else ""))

    # Wanted values

    def _take(self, of: Type, want: Want, path: str) -> None:
        """Read a value once for each of its roles and once for what is wanted of its fields."""
        passes: list[Callable[[], None]] = [partial(self._role, of, role, path) for role in want.roles]
        if want.inner:
            passes.append(partial(self._inner, of, want, path))
        for number, read in enumerate(passes, 1):
            if number < len(passes):
                self._emit(path, ops.MARK)
            read()
            if number < len(passes):
                self._emit(path, ops.BACK)

    def _role(self, of: Type, role: Role, path: str) -> None:
        branches = of.branches if of.kind == "union" else [of]
        self._found.add(role)
        if not any(roles.takes(branch, role) for branch in branches):
            self._problems.append(f"{role.use} field {role.path!r} is {of.label}; it must be {role.wish}")
        self._either(of, path, lambda branch: self._leaf(branch, role, path))

    def _leaf(self, of: Type, role: Role, path: str) -> None:
        if not roles.takes(of, role):
            self._skip(of, path)
            self._emit(path, *role.missing)
        elif role.kind == roles.FEATURES:
            self._elements(of, path)
        elif of.kind == "enum" and role.kind == roles.TEXT:
            self._emit(path, ops.TEXT_ENUM, role.column, len(of.symbols))
            for symbol in of.symbols:
                text = symbol.encode()
                self._emit(path, ops.DATA, len(self._symbols), len(text))
                self._symbols += text
        else:
            self._emit(path, *roles.instruction(of, role))

    def _elements(self, of: Type, path: str) -> None:
        items = of.items
        assert items is not None
        if items.kind in ("float", "double"):
            self._emit(path, ops.FLOAT_ARRAY if items.kind == "float" else ops.DOUBLE_ARRAY)
            return
        element = Role(roles.FEATURE, ops.ELEMENT, path)
        self._emit(path, ops.ELEMENTS)
        self._loop(
            path,
            self._least_bytes(items),
            lambda: self._either(items, path, lambda branch: self._leaf(branch, element, path)),
        )
        self._emit(path, ops.ELEMENTS_END)

    def _inner(self, of: Type, want: Want, path: str) -> None:
        if not any(branch.fields for branch in of.branches or [of]):
            place = f"field {path!r}" if path else "an event"
            self._problems.append(f"{place} is {of.label}; a path goes through records only")
            self._found.update(role for below in want.inner.values() for role in below.everything())
        self._either(of, path, lambda branch: self._fields(branch, want, path))

    def _fields(self, of: Type, want: Want, path: str) -> None:
        """Read the wanted fields of a record, and over the others; what it lacks is missing."""
        lacking = dict(want.inner)
        if of.kind != "record":
            self._skip(of, path)
        for field in of.fields:
            name = _match(field, of, lacking)
            below = f"{path}.{field.name}" if path else field.name
            if name is None:
                self._skip(field.type, below)
            else:
                self._take(field.type, lacking.pop(name), below)
        for role in (role for rest in lacking.values() for role in rest.everything()):
            self._emit(path, *role.missing)

    # Values to read over

    def _skip(self, of: Type, path: str) -> None:
        if self._least_bytes(of) == 0:
            return
        if of.kind in SKIPS:
            self._emit(path, SKIPS[of.kind])
        elif of.kind == "enum":
            self._emit(path, ops.SKIP_ENUM, len(of.symbols))
        elif of.kind == "union":
            self._either(of, path, lambda branch: self._skip(branch, path))
        elif of.kind == "record":
            self._calls.append((self._emit(path, ops.CALL), of))
        elif of.items is not None:
            self._skip_items(of.kind, of.items, path)
        else:
            self._emit(path, ops.SKIP, self._least_bytes(of))

    def _skip_items(self, kind: str, items: Type, path: str) -> None:
        least = self._least_bytes(items)
        if kind == "map":
            self._loop(path, 1 + least, lambda: self._skip_entry(items, path))
        elif least:
            self._loop(path, least, lambda: self._skip(items, path))
        else:
            self._emit(path, ops.SKIP_EMPTY)

    def _skip_entry(self, value: Type, path: str) -> None:
        self._emit(path, ops.SKIP_STRING)
        self._skip(value, path)

    def _emit_routines(self) -> None:
        """One routine per record that is read over, however often it occurs, also within itself."""
        routines: dict[Type, int] = {}
        while self._calls:
            address, record = self._calls.pop()
            if record not in routines:
                routines[record] = self._label()
                for field in record.fields:
                    self._skip(field.type, f"{record.name}.{field.name}")
                self._emit(record.name, ops.RETURN)
            self._code[address][1] = routines[record]

    def _least_bytes(self, of: Type) -> int:
        """The fewest bytes a value takes; 0 only for a type whose every value takes none."""
        if of.kind == "fixed":
            return of.size
        if of.kind != "record":
            return LEAST_BYTES.get(of.kind, 1)
        if of not in self._least:
            self._least[of] = None
            self._least[of] = min(sum(self._least_bytes(field.type) for field in of.fields), MAX_ITEM_BYTES)
        least = self._least[of]
        if least is None:
            raise SchemaError(f"record {of.name} contains itself without end")
        return least

    # Instructions

    def _either(self, of: Type, path: str, read: Callable[[Type], None]) -> None:
        """Read ``of``, or whichever branch it turns out to be."""
        if of.kind != "union":
            read(of)
            return
        table = self._emit(path, ops.UNION, len(of.branches)) + 1
        for _ in of.branches:
            self._emit(path, ops.DATA)
        ends = []
        for number, branch in enumerate(of.branches):
            self._code[table + number][1] = self._label()
            read(branch)
            if branch is not of.branches[-1]:
                ends.append(self._emit(path, ops.JUMP))
        end = self._label()
        for jump in ends:
            self._code[jump][1] = end

    def _loop(self, path: str, least_bytes: int, body: Callable[[], object]) -> None:
        self._emit(path, ops.LOOP)
        top = self._label()
        self._emit(path, ops.NEXT, 0, least_bytes)
        body()
        self._emit(path, ops.JUMP, top)
        self._code[top][1] = self._label()

    def _label(self) -> int:
        self._barrier = len(self._code)
        return self._barrier

    def _emit(self, path: str, op: int, a: int = 0, b: int = 0, c: int = 0) -> int:
        if len(self._code) > self._barrier and self._fused(op, a):
            return len(self._code) - 1
        if len(self._code) == MAX_INSTRUCTIONS:
            raise SchemaError(f"the schema takes more than {MAX_INSTRUCTIONS} instructions to read")
        self._code.append([op, a, b, c])
        self._paths.append(path)
        return len(self._code) - 1

    def _fused(self, op: int, a: int) -> bool:
        """Widen the last instruction by this one, if they are neighbours of a kind."""
        last = self._code[-1]
        if op == ops.SKIP == last[0]:
            last[1] += a
            return True
        run = RUNS.get(op)
        if run is None or last[1] == ops.ELEMENT:
            return False
        if last[0] == op and a == last[1] + 1:
            last[:] = [run, last[1], 2, 0]
            return True
        if last[0] == run and a == last[1] + last[2]:
            last[2] += 1
            return True
        return False


def _match(field: Field, of: Type, wanted: dict[str, Want]) -> str | None:
    """By which of the wanted names a field goes: its own, else an alias that no other field bears."""
    if field.name in wanted:
        return field.name
    names = {other.name for other in of.fields}
    return next((alias for alias in field.aliases if alias in wanted and alias not in names), None)


def _paths(of: Type, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the paths of a schema's fields, to guess what a wrong one meant."""
    for branch in of.branches or [of]:
        for field in branch.fields:
            yield prefix + field.name
            if depth < 3:
                yield from _paths(field.type, f"{prefix}{field.name}.", depth + 1)
