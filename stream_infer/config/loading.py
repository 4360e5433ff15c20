"""TOML file and environment -> Config, with errors that name the setting and the cure."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from stream_infer.config.model import PathOrAddress
from stream_infer.config.sections import Config
from stream_infer.errors import ConfigError
from stream_infer.log import SECRET_NAME

__all__ = ["PREFIX", "load", "parse"]

PREFIX = "STREAM_INFER__"
"""Environment variables of this form override the file: ``STREAM_INFER__BATCH__MAX_EVENTS=500``."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "tuple_type": "a list of texts",
    "dict_type": "a table",
    "model_type": "a table",
    "path_type": "a path in quotes",
}

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")

Tree = dict[str, Any]


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the settings file, let the environment override it, and check all of it.

    Relative paths in the file start at the file's folder; in the environment, at the current one.
    Raises ConfigError, which names every wrong setting; values of secrets are never in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} not found: `stream-infer config example > {path}` writes one to start from"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's text holds a position, never a piece of the file.
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return parse(data, environ, path)


def parse(data: Mapping[str, Any], environ: Mapping[str, str], path: Path) -> Config:
    """Make a Config of the parsed file ``data``; ``path`` is named in errors and anchors relative paths."""
    tree = _anchored(dict(data), path.parent.absolute())
    overridden = _override(tree, environ)
    derived = _derive(tree)
    try:
        # JSON mode: strict about types, yet lists become tuples and texts become paths.
        return Config.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A name derived from a wrong one is wrong as well: say the cause alone.
    causes = [detail for detail in details if _setting(detail) not in derived] or details
    # A union's members each have their say: the first speaks for the setting.
    first = {_setting(detail): detail for detail in reversed(causes)}
    raise ConfigError(
        f"{path}: " + "\n  ".join(_sentence(first[keys], overridden) for keys in reversed(first))
    )


# --- what the file says


def _leaves(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation itself."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _annotation(keys: tuple[str, ...]) -> Any:
    """The type of a setting; None where there is no such setting."""
    model: Any = Config
    for depth, key in enumerate(keys):
        field = model.model_fields.get(key)
        if field is None:
            return None
        model = field.annotation
        if typing.get_origin(model) is dict:
            return model if depth == len(keys) - 1 else str
        if depth < len(keys) - 1 and not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
    return model


def _anchored(tree: Tree, folder: Path) -> Tree:
    """The tree with its relative paths made absolute."""
    for section, keys in list(tree.items()):
        if not isinstance(keys, dict):
            continue
        tree[section] = {
            key: str(folder / value) if isinstance(value, str) and _is_path((section, key), value) else value
            for key, value in keys.items()
        }
    return tree


def _is_path(keys: tuple[str, ...], value: str) -> bool:
    leaves = _leaves(_annotation(keys))
    return Path in leaves or (PathOrAddress in leaves and not _SCHEME.match(value))


# --- what the environment says


def _override(tree: Tree, environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put the environment's values into the tree. Returns which variable set what."""
    overridden: dict[tuple[str, ...], str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        keys = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if keys[:1] == ("kafka",) and len(keys) > 2:
            keys = (*keys[:2], ".".join(keys[2:]).replace("_", "."))
        if len(keys) < 2 or not all(keys):
            raise ConfigError(f"environment {variable}: write {PREFIX}SECTION__KEY, such as {PREFIX}APP__ID")
        _put(tree, keys, _value(keys, environ[variable]), variable)
        overridden[keys] = variable
    return overridden


def _put(tree: Tree, keys: tuple[str, ...], value: Any, variable: str) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"environment {variable}: [{'.'.join(keys[:-1])}] must be a table in the file")
        tree[key] = tree = dict(below)
    tree[keys[-1]] = value


def _value(keys: tuple[str, ...], text: str) -> Any:
    """The text of a variable as the setting's type; as it is where it does not fit, for the error."""
    leaves = _leaves(_annotation(keys))
    if not text and types.NoneType in leaves:
        return None
    if Path in leaves:
        return str(Path(text).absolute())
    if any(typing.get_origin(leaf) is tuple for leaf in leaves) and ("," in text or str not in leaves):
        return [part.strip() for part in text.split(",") if part.strip()]
    if leaves[0] in {int, float, bool}:
        try:
            return TypeAdapter(leaves[0]).validate_python(text)
        except ValidationError:
            return text
    return text


# --- what neither says


def _derive(tree: Tree) -> set[tuple[str, ...]]:
    """Fill in the names of topics that follow from others. Returns which."""
    derived: set[tuple[str, ...]] = set()
    topic, app = (_text(tree, *keys) for keys in (("input", "topic"), ("app", "id")))
    shadow = _text(tree, "shadow", "id") or (app and f"{app}-shadow")
    compared = _text(tree, "shadow", "comparison_topic") or (topic and f"{topic}.compared")
    for section, key, name in (
        ("output", "scored_topic", topic and f"{topic}.scored"),
        ("output", "reject_topic", topic and f"{topic}.rejected"),
        ("output", "correction_topic", topic and f"{topic}.corrected"),
        ("state", "topic", app and f"{app}.state"),
        ("shadow", "id", app and f"{app}-shadow"),
        ("shadow", "comparison_topic", topic and f"{topic}.compared"),
        ("shadow", "state_topic", shadow and f"{shadow}.state"),
        ("compare", "topic", compared),
        ("compare", "verdict_topic", topic and f"{topic}.verdicts"),
    ):
        below = tree.setdefault(section, {})
        if isinstance(below, dict) and key not in below:
            below[key] = name
            derived.add((section, key))
    return derived


def _text(tree: Tree, section: str, key: str) -> str | None:
    below = tree.get(section)
    value = below.get(key) if isinstance(below, dict) else None
    return value if isinstance(value, str) else None


# --- what is wrong


def _sentence(detail: ErrorDetails, overridden: Mapping[tuple[str, ...], str]) -> str:
    """One error in words: the setting, its value unless it is a secret, what is expected."""
    keys = _setting(detail)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(keys, overridden.get(keys))
    if not keys:
        return _message(detail)
    name = _written(keys)
    if kind == "missing":
        what = f"section [{keys[0]}] is missing" if len(keys) == 1 else f"{name} is missing"
        return f"{what}: set it here or by {PREFIX}{'__'.join(keys).upper()}"
    if kind == "value_error" and len(keys) == 1:
        return _message(detail)
    source = f" (from environment {overridden[keys]})" if keys in overridden else ""
    return f"{name}{_shown(keys, detail['input'])}{source}: {_expected(detail)}"


def _setting(detail: ErrorDetails) -> tuple[str, ...]:
    """The setting's own keys: a union's error carries the name of a member behind them."""
    loc = tuple(str(part) for part in detail["loc"])
    return loc[:3] if loc[:2] in {("kafka", "consumer"), ("kafka", "producer")} else loc[:2]


def _written(keys: tuple[str, ...]) -> str:
    return f"[{'.'.join(keys[:-1])}] {keys[-1]}" if len(keys) > 1 else f"[{keys[0]}]"


def _message(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _shown(keys: tuple[str, ...], value: Any) -> str:
    secret = SecretStr in _leaves(_annotation(keys)) or SECRET_NAME.search(keys[-1])
    # An address with a login in it is refused; the refusal must not show it.
    if secret or len(keys) == 1 or isinstance(value, (dict, SecretStr)) or keys[-1].endswith("url"):
        return ""
    return f" = {json.dumps(value, default=str)[:120]}"


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return _pattern_words(str(context["pattern"]))
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}"
    words = _message(detail).replace("Input should be", "must be").replace("Value should", "must")
    return words[:1].lower() + words[1:]


def _pattern_words(pattern: str) -> str:
    if "grpc" in pattern:
        return "must be http://HOST:PORT or grpc://HOST:PORT (or https://, grpcs://), without a login"
    if "http" in pattern:
        return "must begin with http:// or https://"
    return "must be of letters, digits, '.', '_' and '-', and not be empty or too long"


def _unknown(keys: tuple[str, ...], variable: str | None) -> str:
    where = f"environment {variable}: " if variable else ""
    if len(keys) == 1:
        return f"{where}unknown section [{keys[0]}]{_nearest(keys[0], list(Config.model_fields))}"
    section, key = keys[0], keys[-1]
    known = dict(_settings())
    guess = _nearest(key, known.get(section, []))
    if not guess:
        homes = [other for other, names in known.items() if key in names]
        guess = (
            f"; it belongs in [{homes[0]}]" if homes else f"; [{section}] knows {', '.join(known[section])}"
        )
    return f"{where}unknown setting {_written(keys)}{guess}"


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _settings() -> Iterator[tuple[str, list[str]]]:
    for name, field in Config.model_fields.items():
        model = typing.cast("type[BaseModel]", field.annotation)
        yield name, list(model.model_fields)
