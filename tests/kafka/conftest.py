"""What the tests of the whole worker share: a trained model, real rows, a deployment on the broker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stream_infer.data import sample_path
from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded.alone import alone
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.models.artifact import Artifact
from tests.chaos.proxy import Network
from tests.conftest import MAKING_S
from tests.kafka.deployment import SCHEMA_ID, Deployment, Event, encode
from tests.program import run

Rows = Callable[..., list[Event]]


@pytest.fixture(scope="session")
def model(compiled: None, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ``stream-infer train`` makes of the sample: one for all test processes of a run."""
    folder = shared / "smd"
    with alone(folder, MAKING_S):
        if not folder.exists():
            made = tmp_path_factory.mktemp("models") / "smd"
            run(["train", "--data", sample_path(), "--out", made])
            made.rename(folder)
    return folder


@pytest.fixture
def detector(model: Path, tmp_path: Path) -> DirectoryRegistry:
    """Versions "1" and "2" of a model, with the same weights and other thresholds: the scores are the same.

    They are in models/detector of the test's folder; ``current`` is "1".
    """
    registry = DirectoryRegistry(tmp_path / "models" / "detector")
    artifact = Artifact.load(model)
    for version, factor in (("1", 1.0), ("2", 0.9)):
        profiles = dataclasses.replace(artifact.profiles, threshold=artifact.profiles.threshold * factor)
        manifest = artifact.manifest.model_copy(update={"version": f"{artifact.manifest.version}-{version}"})
        Artifact.of(manifest, artifact.model, profiles).save(tmp_path / version)
        registry.add(tmp_path / version, version, {})
    registry.point("current", "1")
    return registry


@pytest.fixture(scope="session")
def rows() -> Rows:
    """rows(count, entities): real rows of the sample as events; entities beyond the known three are new ones."""
    table = pq.read_table(sample_path())
    known = ["entity_id", "seq", "ts", "split", "label"]
    names = [name for name in table.column_names if name not in known]
    features = np.column_stack([table[name].to_numpy() for name in names])
    entity = np.array(table["entity_id"].to_pylist())
    ts = table["ts"].cast("int64").to_numpy()
    machines = sorted(set(entity))
    by_machine = {m: np.flatnonzero(entity == m) for m in machines}

    def make(count: int, entities: int = 9, start: int = 0, schema_id: int = SCHEMA_ID) -> list[Event]:
        events = []
        for number in range(start, start + count):
            which, step = number % entities, number // entities
            machine = machines[which % len(machines)]
            row = by_machine[machine][step]
            name = machine if which < len(machines) else f"{machine}-copy-{which}"
            events.append(encode(name, int(ts[row]), features[row].tolist(), f"e-{number}", schema_id))
        return events

    return make


@pytest.fixture
def deploy(
    kafka: str, group_protocols: tuple[str, ...], model: Path, tmp_path: Path
) -> Iterator[Callable[..., Deployment]]:
    """deploy(partitions=3, settings={...}) makes topics and settings; all its workers end with the test.

    A test of a group protocol that the broker does not speak is skipped.
    """
    made: list[Deployment] = []

    def make(
        partitions: int = 3, servers: str = kafka, schema_id: int = SCHEMA_ID, **settings: dict[str, Any]
    ) -> Deployment:
        settings["kafka"] = {"group_protocol": group_protocols[0]} | settings.get("kafka", {})
        if (protocol := settings["kafka"]["group_protocol"]) not in group_protocols:
            pytest.skip(f"this broker does not speak the group protocol {protocol!r}")
        folder = tmp_path / f"d{len(made)}"
        deployment = Deployment(servers, folder, model, partitions, settings=settings, schema_id=schema_id)
        made.append(deployment)
        deployment.open()
        return deployment

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture(scope="module")
def surroundings() -> Iterator[tuple[EmbeddedKafka, Network]]:
    """A broker that clients see through the proxy only."""
    with Network(1) as network, EmbeddedKafka(advertised=network.advertised, progress=print) as kafka:
        network.open(kafka.inner_addresses)
        yield kafka, network
        assert not network.errors


@pytest.fixture
def network(surroundings: tuple[EmbeddedKafka, Network]) -> Iterator[Network]:
    """The proxy, calm again after each test."""
    yield surroundings[1]
    surroundings[1].calm()
