"""Writer schemas from a Confluent-compatible registry."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stream_infer.avro.schema import SchemaError, SchemaText
from stream_infer.avro.schema_cache import SchemaCache
from stream_infer.avro.source import UnknownSchemaError
from stream_infer.errors import RegistryError

if TYPE_CHECKING:  # the client takes a fifth of a worker's imports, and one with schema files does without
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

__all__ = ["Registry"]

RETRIES: Final = 1
RETRY_WAIT_MS: Final = 100
MAX_KNOWN: Final = 1024
MAX_UNKNOWN: Final = 100_000
UNKNOWN_TTL_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LOOKUPS_PER_S: Final = 50  # a flood of made-up ids may not become a flood of requests
MAX_REFERENCES: Final = 64
NO_SUCH_SCHEMA: Final = (40401, 40402, 40403)  # error codes: of a subject, a version, a schema


class Registry:
    """Looks schemas up by id, once: an id never changes its meaning.

    ``settings`` are those of confluent-kafka's SchemaRegistryClient, ``url`` at least. ``cache_dir`` keeps schemas
    on disk, so that a restart needs no registry. While the registry is down it is asked at growing intervals, not
    for every batch; an id it does not have is believed unknown for UNKNOWN_TTL_S.
    """

    framed = True

    def __init__(
        self,
        settings: Mapping[str, Any],
        timeout_s: float = 5.0,
        cache_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = dict(settings)
        self._timeout_s = timeout_s
        self._clock = clock
        self._cache = SchemaCache(cache_dir, self._settings["url"]) if cache_dir else None
        self._opened: SchemaRegistryClient | None = None
        self._known: OrderedDict[int, SchemaText] = OrderedDict()
        self._unknown: OrderedDict[int, float] = OrderedDict()  # id -> until when
        self._down: str | None = None
        self._pause_s = FIRST_PAUSE_S
        self._ask_again = -float("inf")
        self._second = 0
        self._lookups = 0

    def get(self, schema_id: int) -> SchemaText:
        """Look a schema up, in memory, on disk, then in the registry.

        Raises UnknownSchemaError if the registry has none, SchemaError if it is not Avro, RegistryError if the
        registry cannot be asked now.
        """
        schema = self._known.get(schema_id)
        if schema is None and self._cache is not None:
            schema = self._cache.get(schema_id)
        if schema is None:
            schema = self._look_up(schema_id)
            if self._cache is not None:
                self._cache.put(schema_id, schema)
        self._known[schema_id] = schema
        self._known.move_to_end(schema_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return schema

    def register(self, subject: str, text: str) -> int:
        """Register a schema, or find it registered; gives its id.

        Raises RegistryError if the registry cannot be asked, or refuses.
        """
        from confluent_kafka.schema_registry import Schema  # noqa: PLC0415

        return int(self._ask(methodcaller("register_schema", subject, Schema(text, "AVRO")), subject))

    def check(self) -> None:
        """Raise RegistryError unless the registry answers now."""
        self._ask_again = -float("inf")
        self._ask(methodcaller("get_schema_types"), "the list of schema types")

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _look_up(self, schema_id: int) -> SchemaText:
        now = self._clock()
        if self._unknown.get(schema_id, now) > now:
            raise UnknownSchemaError(f"the registry has no schema {schema_id}")
        self._spend_lookup(now)
        try:
            schema = self._ask(methodcaller("get_schema", schema_id), f"schema {schema_id}")
        except UnknownSchemaError:
            self._unknown[schema_id] = now + UNKNOWN_TTL_S
            self._unknown.move_to_end(schema_id)
            if len(self._unknown) > MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            raise
        self._require_text(schema, f"schema {schema_id}")
        if schema.schema_type != "AVRO":
            raise SchemaError(f"schema {schema_id} is {schema.schema_type}, not Avro")
        references: dict[tuple[str, int], str] = {}
        self._collect(schema, references, set())
        return SchemaText(schema.schema_str, tuple(references.values()))

    def _collect(
        self, schema: Schema, found: dict[tuple[str, int], str], begun: set[tuple[str, int]]
    ) -> None:
        """Fetch what a schema refers to, depth first: each text comes after those it needs."""
        for reference in schema.references or ():
            key = (str(reference.subject), int(reference.version or 0))
            if key in begun:
                continue
            if len(begun) == MAX_REFERENCES:
                raise SchemaError(f"the schema refers to more than {MAX_REFERENCES} others")
            begun.add(key)
            name = f"version {reference.version} of subject {reference.subject!r}"
            try:
                referred = self._ask(methodcaller("get_version", *key), name)
            except UnknownSchemaError:
                raise SchemaError(f"the schema refers to {name}, which the registry does not have") from None
            self._require_text(referred.schema, name)
            self._collect(referred.schema, found, begun)
            found[key] = referred.schema.schema_str

    def _require_text(self, schema: Schema | None, name: str) -> None:
        """A JSON answer without a schema is one of something in between: no answer of the registry."""
        if schema is None or not isinstance(schema.schema_str, str):
            raise self._failed(name, "what came holds no schema")

    def _spend_lookup(self, now: float) -> None:
        if int(now) != self._second:
            self._second, self._lookups = int(now), 0
        self._lookups += 1
        if self._lookups > LOOKUPS_PER_S:
            raise RegistryError(f"more than {LOOKUPS_PER_S} new schema ids in a second: the rest must wait")

    def _ask(self, question: Callable[[SchemaRegistryClient], Any], name: str) -> Any:
        """Ask the registry, unless it was down a moment ago."""
        from confluent_kafka.schema_registry import SchemaRegistryError  # noqa: PLC0415

        if self._clock() < self._ask_again:
            raise RegistryError(str(self._down))
        try:
            client = self._client()
            answer = question(client)
            client.clear_caches()  # type: ignore[no-untyped-call]  # they have no bound; ours has
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code in NO_SUCH_SCHEMA:
                self._answered()
                raise UnknownSchemaError(f"the registry does not have {name}") from None
            if error.http_status_code in (409, 422):
                self._answered()
                raise RegistryError(f"the registry refuses {name}: {error.error_message}") from None
            raise self._failed(name, str(error)) from None
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in there, the registry gave no answer
            raise self._failed(name, f"{type(error).__name__}: {error}") from None
        self._answered()
        return answer

    def _answered(self) -> None:
        self._down, self._pause_s = None, FIRST_PAUSE_S

    def _failed(self, name: str, why: str) -> RegistryError:
        self._down = (
            f"the schema registry at {self._settings['url']} gave no answer for {name} ({why}); "
            "check registry.url, its user and certificates, and that it runs"
        )
        self._ask_again = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return RegistryError(self._down)

    def _client(self) -> SchemaRegistryClient:
        if self._opened is None:
            from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415

            limits = {"timeout": self._timeout_s, "max.retries": RETRIES, "retries.wait.ms": RETRY_WAIT_MS}
            self._opened = SchemaRegistryClient({**limits, **self._settings})
        return self._opened
