"""The commands and the registry that docs/models.md shows work as they stand there."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from stream_infer.cli import main
from stream_infer.data import sample_path
from stream_infer.errors import ModelRegistryError
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.model_registry.registry import ModelRegistry
from stream_infer.model_registry.shelf import Shelf
from stream_infer.model_registry.source import ModelSource
from stream_infer.models.artifact import Artifact

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")
COMMANDS = re.findall(r"^    stream-infer (.*)$", PAGE, re.MULTILINE)
ROWS = 250
ELSEWHERE = ("-c worker.toml", "torch")
"""Commands that need a broker, which tests/kafka has, or torch."""


def some_rows(path: Path) -> None:
    """The first rows of each entity and split of the sample."""
    table = pq.read_table(sample_path())
    kept = table.filter(pa.array((table["seq"].to_numpy() % 5000) < ROWS))
    pq.write_table(kept, path)


def test_the_commands_that_need_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    some_rows(tmp_path / "metrics.parquet")
    some_rows(tmp_path / "last_week.parquet")
    here = [command for command in COMMANDS if not any(part in command for part in ELSEWHERE)]
    done = []
    for command in here:
        words = command.split()
        if words[0] == "bench-model":
            words += ["--seconds", "0.01"]  # it is right at once
        if "VERSION" in words:  # a second one, so that there is one to go back to
            fast = Artifact.load("models/metrics-fp16").manifest.version
            _run(["model", "register", "models/metrics-fp16", "models/detector"])
            words[words.index("VERSION")] = fast
        _run(words)
        done.append(words[1] if words[0] == "model" else words[0])
    assert done == [
        *("train", "evaluate", "evaluate", "calibrate", "export", "bench-model"),
        *("register", "list", "show", "promote", "rollback"),
    ]


def _run(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, f"{words}: {result.output}"


def test_the_registry_of_the_page(artifact: Artifact, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, type] = {}
    exec(code, names)
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "aliases.json").write_text("{}")
    artifact.save(tmp_path / "artifact")
    with zipfile.ZipFile(folder / "7.zip", "w") as archive:
        for file in (tmp_path / "artifact").iterdir():
            archive.write(file, file.name)

    source = ModelSource.parse(f"zips:{folder}@prod")
    registry: ModelRegistry = names["ZipRegistry"](source)
    with pytest.raises(ModelRegistryError, match="is not there"):
        registry.resolve("prod")
    registry.point("prod", "7")
    shelf = Shelf(None)
    found = shelf.take(registry, registry.resolve("prod"))

    assert Artifact.load(found).sha256 == artifact.sha256
    assert shelf.take(registry, registry.resolve("7")) == found
    shelf.close()
    assert not found.exists()


def test_a_damaged_copy_on_the_shelf_is_fetched_anew(artifact: Artifact, tmp_path: Path) -> None:
    artifact.save(tmp_path / "artifact")
    registry = DirectoryRegistry(tmp_path / "models" / "detector")
    registry.add(tmp_path / "artifact", "1", {})
    shelf = Shelf(tmp_path / "cache")
    found = shelf.take(registry, registry.resolve("1"))
    (found / "model.onnx").write_bytes(b"half a file")

    assert Artifact.load(shelf.take(registry, registry.resolve("1"))).sha256 == artifact.sha256
