"""The rivals can be started, or say what they lack; what they are made of is pinned."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from load import rivals
from load.__main__ import main
from load.autoencoder import autoencoder
from load.peers.kafka_streams.__main__ import write_profiles
from load.plan import Plan
from load.rivals import RIVALS
from load.scenarios import RIVALLED, SCENARIOS
from load.traffic import Traffic

PEERS = Path(rivals.__file__).parent / "peers"


@pytest.mark.parametrize("name", ["quix", "faust", "faststream"])
def test_packages_of_a_rival_are_pinned_by_hash(name):
    lock = (PEERS / f"{name}.lock").read_text()
    wanted = {re.split(r"[>\[]", line)[0] for line in (PEERS / f"{name}.in").read_text().split()}
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))

    assert wanted <= pinned.keys()
    assert "://" not in lock
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_jars_are_pinned_and_are_of_the_brokers_version():
    lines = (PEERS / "kafka_streams" / "jars.sha256").read_text().splitlines()
    jars = [line.split() for line in lines if not line.startswith("#")]

    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) and name.count(":") == 2 for digest, name in jars)
    assert "org.apache.kafka:kafka-streams:4.3.1" in {name for _, name in jars}


def test_a_rival_that_cannot_run_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert "javac" in RIVALS["kafka_streams"].lacks()
    assert "make bench-peers" in RIVALS["quix"].lacks()
    assert RIVALS["plain"].lacks() is None


def test_rivals_run_after_a_worker_that_promises_the_same():
    turns = [(mode, program) for mode, program, _ in Plan(rivals=("plain", "faststream", "quix")).turns()]

    assert turns == [
        ("exactly_once", "worker"),
        ("exactly_once", "plain"),
        ("exactly_once", "quix"),
        ("at_least_once", "worker"),
        ("at_least_once", "faststream"),
    ]


def test_promises_are_taken_in_turns_whatever_the_settings_say():
    plan = Plan(rivals=(), modes=("at_least_once", "exactly_once"), settings={"KAFKA__LANE": "ordinary"})

    assert [settings for _, _, settings in plan.turns()] == [
        {"KAFKA__LANE": "ordinary", "DELIVERY__MODE": "at_least_once"},
        {"KAFKA__LANE": "ordinary", "DELIVERY__MODE": "exactly_once"},
    ]


def test_a_setting_that_turns_would_overwrite_is_refused():
    done = CliRunner().invoke(main, ["drain", "--set", "DELIVERY__MODE=at_least_once", "--rival", "none"])

    assert done.exit_code == 2
    assert "--mode" in done.output


def test_only_scenarios_with_rivals_take_some():
    for name in SCENARIOS:
        taken = {option.name for option in main.commands[name].params}
        assert ({"rivals", "rival_events", "modes"} <= taken) is (name in RIVALLED)


def test_profiles_for_java_hold_what_the_artifact_does(tmp_path):
    artifact = autoencoder(Traffic(width=8))
    artifact.save(tmp_path / "model")
    write_profiles(tmp_path / "model", tmp_path / "profiles")
    content = (tmp_path / "profiles").read_bytes()
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    profiles = artifact.profiles
    count = len(profiles.names)

    numbers = 2 + count * (8 + 8 + 8 + 1 + 1)  # smoothing, clip; center, spread, error_sd, scale, threshold
    tail = np.frombuffer(content[-8 * numbers :], ">f8")
    assert tail[0] == manifest["terms"][0]["smoothing"]
    assert np.array_equal(tail[2 : 2 + count * 8], profiles.center[:count].ravel())
    assert np.array_equal(tail[-count:], profiles.threshold[:count])
    head = content[: -8 * numbers]
    assert head.startswith(
        struct.pack(">H", len("autoencoder")) + b"autoencoder" + struct.pack(">H", 1) + b"1"
    )
    assert head.endswith(b"".join(struct.pack(">H", len(name)) + name for name in profiles.names[-2:]))
