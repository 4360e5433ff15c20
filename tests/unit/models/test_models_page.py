"""The registry that docs/models.md shows works as it stands there."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from stream_infer.errors import ModelRegistryError
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.model_registry.registry import ModelRegistry
from stream_infer.model_registry.shelf import Shelf
from stream_infer.model_registry.source import ModelSource
from stream_infer.models.artifact import Artifact

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")


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
