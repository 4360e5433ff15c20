"""Versions and aliases in a folder, sources as written, and the commands that change them."""

from __future__ import annotations

import importlib.metadata
import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.cli import main
from stream_infer.errors import ConfigError, ModelRegistryError
from stream_infer.model_registry import source as sources
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.model_registry.registry import ModelRegistry, ModelVersion
from stream_infer.model_registry.source import Login, ModelSource, open_registry
from stream_infer.models.artifact import Artifact

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    artifact.save(tmp_path / "artifact")
    return tmp_path / "artifact"


@pytest.fixture
def registry(saved: Path, tmp_path: Path) -> DirectoryRegistry:
    registry = DirectoryRegistry(tmp_path / "models" / "detector")
    for version in ("1", "2", "3"):
        registry.add(saved, version, {})
    return registry


def test_an_alias_means_a_version_until_it_is_pointed_elsewhere(registry: DirectoryRegistry) -> None:
    registry.point("current", "1")
    registry.point("challenger", "3")
    assert registry.resolve("current").version == "1"
    assert registry.resolve("1").aliases == ("current",)

    registry.point("current", "3")
    assert registry.resolve("current").version == "3"
    assert registry.resolve("3").aliases == ("challenger", "current")
    assert registry.resolve("1").aliases == ()


def test_what_is_fetched_is_the_artifact(
    registry: DirectoryRegistry, artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "fetched").mkdir()
    registry.fetch(registry.resolve("2"), tmp_path / "fetched")
    assert Artifact.load(tmp_path / "fetched").sha256 == artifact.sha256


def test_versions_are_listed_newest_first_and_never_change(registry: DirectoryRegistry, saved: Path) -> None:
    assert [version.version for version in registry.versions()] == ["3", "2", "1"]
    with pytest.raises(ModelRegistryError, match="versions do not change"):
        registry.add(saved, "2", {})


def test_what_is_not_there_is_said(registry: DirectoryRegistry) -> None:
    with pytest.raises(ModelRegistryError, match=r"versions in .*: 3, 2, 1"):
        registry.resolve("current")
    with pytest.raises(ModelRegistryError, match="no model here"):
        registry.point("current", "9")
    with pytest.raises(ModelRegistryError, match="is a version, not an alias"):
        registry.point("2", "1")


@pytest.mark.parametrize("name", ["", ".", "..", "../1", "a/b", ".hidden", "a b", "x" * 200])
def test_a_name_stays_in_its_folder(registry: DirectoryRegistry, name: str) -> None:
    with pytest.raises(ModelRegistryError, match="is no alias or version"):
        registry.resolve(name)


def test_readers_never_see_an_alias_without_a_version(registry: DirectoryRegistry) -> None:
    registry.point("current", "1")
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(registry.resolve("current").version)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        registry.point("current", str(turn % 3 + 1))
    done.set()
    reader.join()
    assert seen <= {"1", "2", "3"}
    assert registry.resolve("current").version == "2"


@given(NAMES, NAMES)
def test_a_folder_and_an_alias(name: str, wanted: str) -> None:
    source = ModelSource.parse(f"models/{name}@{wanted}")
    assert (source.scheme, source.place, source.wanted) == ("", f"models/{name}", wanted)
    assert isinstance(open_registry(source, Login()), DirectoryRegistry)


@given(NAMES, NAMES)
def test_mlflow_and_an_alias(name: str, wanted: str) -> None:
    source = ModelSource.parse(f"models:/{name}@{wanted}")
    assert (source.scheme, source.place, source.wanted) == ("models", name, wanted)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("models:/detector@champion", "models:/detector@7"),
        ("models:/detector", "models:/detector@7"),
        ("my@models/detector@current", "my@models/detector@7"),
        ("wandb:team/detector@prod", "wandb:team/detector@7"),
    ],
)
def test_the_same_model_at_a_version(text: str, pinned: str) -> None:
    found = ModelSource.parse(text).at("7")
    assert found == ModelSource.parse(pinned)


@pytest.mark.parametrize("text", ["", "@", "@current", "models/detector@"])
def test_a_source_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        ModelSource.parse(text)


def test_mlflow_without_its_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.registry_url"):
        open_registry(ModelSource.parse("models:/detector@champion"), Login())


class Shelf:
    """A registry as somebody else would write it."""

    def __init__(self, source: ModelSource) -> None:
        self.source = source

    def resolve(self, wanted: str) -> ModelVersion:
        return ModelVersion(self.source.place, "7", f"shelf:{self.source.place}/7", (wanted,))

    def fetch(self, version: ModelVersion, folder: Path) -> None: ...

    def point(self, alias: str, version: str) -> None: ...


def test_a_plugin_serves_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("shelf", f"{__name__}:Shelf", sources.PLUGINS)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: Shelf)
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry] if group == sources.PLUGINS else [])
    made: ModelRegistry = open_registry(ModelSource.parse("shelf:team/detector@prod"), Login())

    assert made.resolve("prod").uri == "shelf:team/detector/7"


def test_a_scheme_without_a_plugin_is_refused() -> None:
    with pytest.raises(ConfigError, match="no registry for 'nowhere'"):
        open_registry(ModelSource.parse("nowhere:detector@prod"), Login())


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(main, ["model", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands(saved: Path, tmp_path: Path) -> None:
    model = tmp_path / "models" / "detector"
    version = Artifact.load(saved).manifest.version
    assert f"registered detector {version}" in run("register", saved, model, "--alias", "current")
    DirectoryRegistry(model).add(saved, "newer", {})
    assert run("promote", model, "newer").strip() == "current -> newer"
    listed = [json.loads(line) for line in run("list", model, "--json").splitlines()]
    assert [(one["version"], one["aliases"]) for one in listed] == [("newer", ["current"]), (version, [])]
    assert run("rollback", model).strip() == f"current -> {version}"
    assert f"version    {version}" in run("show", model, "current")


def test_there_is_nothing_to_go_back_to_from_the_first(saved: Path, tmp_path: Path) -> None:
    model = tmp_path / "models" / "detector"
    run("register", saved, model, "--alias", "current")
    result = CliRunner().invoke(main, ["model", "rollback", str(model)])
    assert result.exit_code == ModelRegistryError.exit_code
    assert "no version older than" in result.output
