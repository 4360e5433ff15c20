"""The Kubernetes manifests are valid, and fit the worker, its image and its defaults."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_infer.build.shadow_config import shadow_config
from stream_infer.config import parse
from stream_infer.control import Metrics, Status
from stream_infer.control.server import pages

with warnings.catch_warnings():  # it builds on a deprecated part of jsonschema
    warnings.simplefilter("ignore", DeprecationWarning)
    import kubernetes_validate

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ["1.29", "1.37"]
GRACE_S = 5


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


WORKER = {document["kind"]: document for document in documents("worker.yaml")}
SHADOW = {document["kind"]: document for document in documents("shadow.yaml")}
(SCALED,) = documents("scaling.yaml")
POD = WORKER["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SHADOW_POD = SHADOW["Deployment"]["spec"]["template"]["spec"]
(SHADOW_CONTAINER,) = SHADOW_POD["containers"]
SETTINGS = tomllib.loads(WORKER["ConfigMap"]["data"]["worker.toml"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [*WORKER.values(), *SHADOW.values()], ids=lambda found: found["kind"])
def test_every_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = {**WORKER["PodDisruptionBudget"], "spec": {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_settings_are_the_workers() -> None:
    names = {entry["name"]: "stream-infer-0" for entry in CONTAINER["env"]}
    config = parse(SETTINGS, names, Path("worker.toml"))

    assert config.delivery.slot == "stream-infer-0"
    assert config.control.host == "0.0.0.0"
    assert config.control.port == CONTAINER["ports"][0]["containerPort"]
    assert POD["terminationGracePeriodSeconds"] > config.delivery.drain_timeout_s + GRACE_S
    assert str(config.model.path).startswith(
        next(m["mountPath"] for m in CONTAINER["volumeMounts"] if m["name"] == "models")
    )


def test_what_selects_pods_selects_these() -> None:
    labels = WORKER["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        WORKER["StatefulSet"]["spec"]["selector"]["matchLabels"],
        WORKER["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        WORKER["Service"]["spec"]["selector"],
        *(spread["labelSelector"]["matchLabels"] for spread in POD["topologySpreadConstraints"]),
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_the_image_finds_its_folders() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    mounts = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert "NUMBA_CACHE_DIR=/var/cache/stream-infer" in dockerfile
    assert {"/var/cache/stream-infer", "/etc/stream-infer"} <= mounts
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}" in dockerfile
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {v["name"] for v in POD["volumes"]}


def test_probes_ask_for_what_the_worker_serves() -> None:
    app = pages(Status((), lambda: 0.0), Metrics(), 60)
    served = {route.path for route in app.routes}
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    annotations = WORKER["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]

    assert {probe["path"] for probe in probes.values()} | {annotations["prometheus.io/path"]} <= served
    assert probes["liveness"]["path"] == "/healthz"
    assert probes["readiness"]["path"] == "/readyz"
    assert {probe["port"] for probe in probes.values()} == {CONTAINER["ports"][0]["name"]}


def test_a_shadow_reads_the_workers_settings_and_gives_way() -> None:
    spec = SHADOW["Deployment"]["spec"]
    apart = SHADOW_POD["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    labels = WORKER["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    config = parse(SETTINGS, {e["name"]: e["value"] for e in SHADOW_CONTAINER["env"]}, Path("worker.toml"))
    own = shadow_config(config)
    same = ("image", "envFrom", "volumeMounts", "securityContext", "livenessProbe", "readinessProbe")

    assert SHADOW["PriorityClass"]["value"] < 0
    assert SHADOW["PriorityClass"]["preemptionPolicy"] == "Never"
    assert SHADOW_POD["priorityClassName"] == SHADOW["PriorityClass"]["metadata"]["name"]
    assert SHADOW_CONTAINER["resources"]["requests"]["cpu"] == "100m"
    assert all(
        one["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels.items() for one in apart
    )
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() & labels.items() == set()
    assert all(SHADOW_CONTAINER[name] == CONTAINER[name] for name in same)
    assert all(SHADOW_POD[name] == POD[name] for name in ("volumes", "securityContext"))
    assert own.control.port == SHADOW_CONTAINER["ports"][0]["containerPort"]
    startup = SHADOW_CONTAINER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > 2 * own.shadow.restart_pause_s
    assert SHADOW_POD["terminationGracePeriodSeconds"] > own.delivery.drain_timeout_s + GRACE_S


def test_one_worker_leaves_at_a_time() -> None:
    assert WORKER["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert SCALED["spec"]["maxReplicaCount"] > SCALED["spec"]["minReplicaCount"] >= 2


@pytest.mark.parametrize("version", VERSIONS)
def test_what_keda_hands_on_is_valid(version: str) -> None:
    """Its autoscaler takes the behaviour as it stands; each entry of a trigger is a string."""
    spec = SCALED["spec"]
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "stream-infer"},
        "spec": {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }
    kubernetes_validate.validate(autoscaler, version, strict=True)
    assert all(
        isinstance(value, str) for trigger in spec["triggers"] for value in trigger["metadata"].values()
    )


def test_scaling_watches_the_workers_own_lag() -> None:
    target = SCALED["spec"]["scaleTargetRef"]
    (trigger,) = SCALED["spec"]["triggers"]
    config = parse(SETTINGS, {}, Path("worker.toml"))

    assert (target["kind"], target["name"]) == ("StatefulSet", WORKER["StatefulSet"]["metadata"]["name"])
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["consumerGroup"] == config.app.id
    assert trigger["metadata"]["topic"] == config.input.topic
    assert trigger["metadata"]["bootstrapServers"] == config.kafka.bootstrap_servers
    assert SCALED["spec"]["minReplicaCount"] == WORKER["StatefulSet"]["spec"]["replicas"]
