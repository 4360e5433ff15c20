"""A folder of schemas: ids in the file names, errors that name the cure."""

from __future__ import annotations

import pytest

from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.fields import Fields
from stream_infer.avro.schema import parse
from stream_infer.avro.source import UnknownSchemaError
from stream_infer.errors import ConfigError
from tests.unit.avro.avro_data import batch_of, encode, framed, record, text

EVENT = record(("entity", "string"), ("x", "double"))
FIELDS = Fields(("x",), 1, "entity", None, None)


def test_the_id_is_in_the_file_name(tmp_path):
    (tmp_path / "7-event.avsc").write_text(text(EVENT))
    (tmp_path / "8_other.avsc").write_text(text(record(("x", "int"), ("entity", "string"), name="Other")))
    directory = SchemaDirectory(tmp_path)
    payloads = [
        framed(7, encode(EVENT, {"entity": "a", "x": 1.5})),
        framed(8, b"\x04\x02b"),
        framed(9, b""),
    ]

    decoded = Decoder(directory, FIELDS).decode(batch_of(payloads))

    assert decoded.columns.features.tolist() == [[1.5], [2.0]]
    assert [fault.error for _, fault in decoded.rejects] == ["schema_unknown"]
    assert "9-NAME.avsc" in decoded.rejects.faults[0].reason
    assert directory.id_of("event") == 7


def test_own_schemas_have_ids_without_a_file(tmp_path):
    directory = SchemaDirectory(tmp_path)
    assert directory.id_of("scored_event") == 900_001
    assert directory.get(900_001).text == schemas.text("scored_event")
    assert parse(directory.get(900_001)).name == "stream_infer.ScoredEvent"


def test_the_folder_may_give_own_schemas_another_id(tmp_path):
    (tmp_path / "12-scored_event.avsc").write_text(schemas.text("scored_event"))
    assert SchemaDirectory(tmp_path).id_of("scored_event") == 12


def test_the_folder_of_the_repository_is_such_a_folder():
    assert SchemaDirectory(schemas.folder()).id_of("scored_event") == 900_001


def test_a_schema_uses_types_of_the_other_files(tmp_path):
    (tmp_path / "1-place.avsc").write_text(
        '{"type": "record", "name": "Place", "namespace": "geo", "fields": [{"name": "at", "type": "geo.Point"}]}'
    )
    (tmp_path / "2-point.avsc").write_text(
        '{"type": "record", "name": "Point", "namespace": "geo", "fields": [{"name": "x", "type": "double"}]}'
    )
    (tmp_path / "3-event.avsc").write_text(
        '{"type": "record", "name": "Event", "namespace": "geo", "fields": ['
        '{"name": "entity", "type": "string"}, {"name": "place", "type": ["null", "Place"]}]}'
    )
    decoder = Decoder(SchemaDirectory(tmp_path), Fields(("place.at.x",), 1, "entity", None, None))

    decoded = decoder.decode(batch_of([framed(3, b"\x02e\x02" + b"\0" * 6 + b"\xf0\x3f")]))

    assert decoded.columns.features.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["event.avsc"], r"rename it to ID-NAME\.avsc, as in 1-event\.avsc"),
        (["4294967296-event.avsc"], "does not say its schema id"),
        (["7-a.avsc", "07-b.avsc"], "have the same id"),
    ],
)
def test_errors_name_the_cure(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_text(text(EVENT))
    with pytest.raises(ConfigError, match=message):
        SchemaDirectory(tmp_path).check()


def test_a_missing_folder_and_a_missing_name(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        SchemaDirectory(tmp_path / "none").check()
    with pytest.raises(ConfigError, match=r"no schema called 'event'; keep one file ID-event\.avsc"):
        SchemaDirectory(tmp_path).id_of("event")
    with pytest.raises(UnknownSchemaError):
        SchemaDirectory(tmp_path).get(1)
