"""What is deployed fits the code: the compose file, the image and the locks, read as they are."""

import graphlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from stream_infer.cli import run, topics
from stream_infer.config import parse
from stream_infer.embedded import registry as embedded_registry
from stream_infer.errors import ConfigError
from stream_infer.topics import GROUP_SETTINGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = DEPLOY / "worker.toml"
OURS = "stream-infer"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def config_of(environment):
    """What the worker's own loader makes of the example file in this environment; it refuses unknown names."""
    data = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    return parse(data, environment, SETTINGS)


@pytest.fixture(scope="module")
def config():
    return config_of(SERVICES["worker"]["environment"])


def instructions(name):
    return re.findall(rf"^{name} +(.+)$", DOCKERFILE, re.MULTILINE)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def mounts(service):
    return [mount for mount in SERVICES[service].get("volumes", []) if mount["type"] == "bind"]


# --- images


@pytest.mark.parametrize("image", [*(one["image"] for one in SERVICES.values()), *instructions("FROM")])
def test_images_are_pinned_by_version_and_name_no_registry(image):
    name, _, tag = image.split(" ")[0].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(-[a-z-]+)?", tag), f"{image}: pin it by its full version"
    assert "." not in name.split("/")[0]


def test_the_image_is_of_this_version_and_the_others_are_those_the_tests_run():
    assert SERVICES["worker"]["image"] == f"{OURS}:{PROJECT['project']['version']}"
    pinned = {path.name.removesuffix(".sha256") for path in (ROOT / "stream_infer/embedded").glob("*.sha256")}
    assert SERVICES["kafka"]["image"].removeprefix("apache/").replace(":", "-") in pinned
    assert SERVICES["registry"]["image"].removeprefix("apicurio/").replace("-registry:", "-") in pinned


def test_the_dockerfile_copies_what_is_there_and_what_the_build_needs():
    copied = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from=")
        for source in line.split()[:-1]
    ]
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").split("\n") if line.startswith("!")
    ]
    assert sorted(copied) == sorted(let_in)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    built = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        *built["packages"],
        *built["force-include"],
    }
    assert needed <= set(copied)
    installed = re.findall(r"--require-hashes.*? -r (\S+)", DOCKERFILE)
    assert sorted(installed) == ["requirements-build.lock", "requirements-runtime.lock"]


def test_the_image_runs_the_worker_as_nobody_in_particular(config):
    (user,) = instructions("USER")
    assert all(int(number) >= 1000 for number in user.split(":"))
    assert instructions("ENTRYPOINT") == [f'["{next(iter(PROJECT["project"]["scripts"]))}"]']
    assert instructions("EXPOSE") == [str(config.control.port)]
    (health,) = instructions("HEALTHCHECK")
    assert f"'STREAM_INFER__CONTROL__PORT', '{config.control.port}') + '/healthz'" in health


# --- the compose file


@pytest.mark.parametrize("service", [name for name, one in SERVICES.items() if one["image"].startswith(OURS)])
def test_the_environment_is_known_to_the_settings(service):
    environment = SERVICES[service]["environment"]
    assert config_of(environment) == config_of(SERVICES["worker"]["environment"])
    misspelt = dict(environment) | {"STREAM_INFER__KAFKA__BOOTSTRAP_SERVER": "kafka:1"}
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        config_of(misspelt)


def test_the_worker_reaches_kafka_and_the_registry_where_they_listen(config):
    kafka = SERVICES["kafka"]["environment"]
    listeners = dict(one.split("://:") for one in kafka["KAFKA_LISTENERS"].split(","))
    advertised = dict(one.split("://") for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    inside = kafka["KAFKA_INTER_BROKER_LISTENER_NAME"]
    assert config.kafka.bootstrap_servers == advertised[inside] == f"kafka:{listeners[inside]}"
    assert advertised["HOST"] == f"localhost:{listeners['HOST']}"
    assert set(listeners) == {
        one.split(":")[0] for one in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    }
    port = SERVICES["registry"]["environment"]["QUARKUS_HTTP_PORT"]
    assert config.registry.url == f"http://registry:{port}{embedded_registry._PATH}"
    asked = SERVICES["registry"]["healthcheck"]["test"][-1]
    assert f"/dev/tcp/127.0.0.1/{port};" in asked
    assert f"GET {embedded_registry._PATH}/subjects " in asked


def test_kafka_takes_the_group_settings_that_topics_create_asks_for(config):
    assert config.kafka.group_protocol == "consumer"
    kafka = SERVICES["kafka"]["environment"]
    for name, wanted in GROUP_SETTINGS.items():
        least = f"group.{name.replace('consumer.', 'consumer.min.')}".upper().replace(".", "_")
        assert int(kafka[f"KAFKA_{least}"]) <= int(wanted)


def test_ports_are_published_on_the_loopback_address_and_are_those_listened_on(config):
    published = {
        service: [port.rsplit(":", 2) for port in one.get("ports", [])] for service, one in SERVICES.items()
    }
    flat = [port for ports in published.values() for port in ports]
    assert flat
    assert all(address == "127.0.0.1" for address, _, _ in flat)
    assert len({outside for _, outside, _ in flat}) == len(flat), "two services want the same port"
    assert [inside for _, _, inside in published["worker"]] == [str(config.control.port)]
    assert config.control.host == "0.0.0.0"
    ((_, outside, inside),) = published["kafka"]
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].count(f"localhost:{outside}") == 1
    assert f"HOST://:{inside}" in SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"]
    ((_, _, inside),) = published["registry"]
    assert inside == SERVICES["registry"]["environment"]["QUARKUS_HTTP_PORT"]


def test_services_start_in_order_and_wait_for_what_they_need():
    needs = {service: one.get("depends_on", {}) for service, one in SERVICES.items()}
    order = list(graphlib.TopologicalSorter(needs).static_order())  # raises on a cycle
    assert set(order) == set(SERVICES), "something depends on a service that is not there"
    assert {"kafka", "registry", "topics"} <= set(needs["worker"])
    assert "kafka" in needs["topics"]
    for service, dependencies in needs.items():
        for name, how in dependencies.items():
            other = SERVICES[name]
            if how["condition"] == "service_completed_successfully":
                assert other["restart"] == "no", f"{service} waits for the end of {name}, which is restarted"
            else:
                assert name in with_health_check(), f"{service} depends on {name}, which has no health check"
    assert all(how["condition"] != "service_started" for how in needs["worker"].values())


def with_health_check():
    ours = instructions("HEALTHCHECK")
    return {
        service
        for service, one in SERVICES.items()
        if one.get("healthcheck", {}).get("test") or ("healthcheck" not in one and "build" in one and ours)
    }


def test_everything_that_stays_is_restarted_and_checked():
    once = {service for service, one in SERVICES.items() if one["restart"] == "no"}
    assert once == {"topics"}
    assert with_health_check() == set(SERVICES) - once


def test_a_worker_has_the_time_to_drain(config):
    needed_s = config.delivery.drain_timeout_s + config.delivery.transaction_timeout_ms / 1000
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > needed_s


def test_mounted_files_are_in_the_repository_and_read_only(config):
    for service in SERVICES:
        for mount in mounts(service):
            assert mount["read_only"], mount
            # Where the source is missing, Docker must say so, not make an empty folder of that name.
            assert mount["bind"]["create_host_path"] is False
            assert mount["source"] == "./models" or (ROOT / mount["source"]).is_file(), mount
    (models,) = [mount["target"] for mount in mounts("worker") if mount["source"] == "./models"]
    assert config.model.path.is_relative_to(models)
    written = [mount for mount in SERVICES["worker"]["volumes"] if not mount.get("read_only")]
    kernels, base = (
        re.findall(rf"{name}=(\S+)", DOCKERFILE) for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    )
    assert [mount["target"] for mount in written] == kernels == [f"{base[0]}/stream-infer"]
    named = {
        m["source"] for one in SERVICES.values() for m in one.get("volumes", []) if m["type"] == "volume"
    }
    assert named == set(COMPOSE["volumes"])


@pytest.mark.parametrize(("service", "command"), [("worker", run.command), ("topics", topics.command)])
def test_commands_are_understood_and_read_the_mounted_settings(service, command):
    name, *words = SERVICES[service]["command"]
    target = words[words.index("-c") + 1]
    assert name == service.replace("worker", "run")
    assert {"./deploy/worker.toml": target}.items() <= {
        m["source"]: m["target"] for m in mounts(service)
    }.items()
    words = [str(SETTINGS) if word == target else word for word in words]
    while words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    assert command.make_context(name, words).params["config_path"] == SETTINGS
    if service == "worker":
        assert f'"{target}"' in instructions("CMD")[-1], "the image's own command reads another file"


# --- locks


def pins(name):
    """Requirement -> its hashes, of a lock file; markers are part of the requirement."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert "://" not in text
    found = {}
    for block in text.replace("\\\n", " ").strip().split("\n"):
        requirement, *hashes = block.split("--hash=")
        found[requirement.strip()] = {one.strip() for one in hashes}
    return found


def names(requirements):
    return {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in requirements}


@pytest.mark.parametrize("lock", ["requirements-runtime.lock", "requirements-build.lock"])
def test_what_is_deployed_is_what_was_tested(lock):
    tested = {one.split(" ;")[0]: hashes for one, hashes in pins("requirements.lock").items()}
    deployed = pins(lock)
    assert deployed
    for requirement, hashes in deployed.items():
        assert hashes, f"{requirement} has no hash"
        assert tested.get(requirement.split(" ;")[0]) == hashes, (
            f"{requirement}: `make lock` brings them together"
        )


def test_the_runtime_lock_has_what_runs_and_nothing_else():
    runtime = names(pins("requirements-runtime.lock"))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = names(PROJECT["project"]["dependencies"])
    assert wanted <= runtime
    assert runtime & (names(extras["dev"]) | names(extras["embedded"]) | names(extras["train"])) == set()
    assert names(PROJECT["build-system"]["requires"]) <= names(pins("requirements-build.lock"))
