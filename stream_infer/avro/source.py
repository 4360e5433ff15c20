"""Where writer schemas come from."""

from __future__ import annotations

from typing import Protocol

from stream_infer.avro.schema import SchemaError, SchemaText

__all__ = ["SchemaSource", "SingleSchema", "UnknownSchemaError"]


class UnknownSchemaError(SchemaError):
    """No schema has this id, for sure: the records that claim it are rejects."""


class SchemaSource(Protocol):
    """Gives the writer schema of an id.

    ``framed`` says that payloads begin with five bytes that name their schema (the Confluent wire format).
    """

    @property
    def framed(self) -> bool:
        """Whether payloads name their schema."""
        ...

    def get(self, schema_id: int) -> SchemaText:
        """Look the schema up.

        Raises UnknownSchemaError if there is none, RegistryError if that cannot be found out now.
        """
        ...


class SingleSchema:
    """One schema for all payloads, which are bare bodies: no magic byte, no id."""

    framed = False

    def __init__(self, text: str) -> None:
        self._schema = SchemaText(text)

    def get(self, schema_id: int) -> SchemaText:  # noqa: ARG002
        """Give the one schema there is."""
        return self._schema
