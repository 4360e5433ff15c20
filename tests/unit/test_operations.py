"""What an operator looks at fits the code: Prometheus' rules and docs/operations.md, read as they are."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from stream_infer import errors
from stream_infer.config import parse, reference
from stream_infer.control import METRICS, Metrics, Status
from stream_infer.control.server import pages

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = DEPLOY / "worker.toml"
JOB = "stream-infer"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERT_TESTS = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]


def config_of(environment):
    """What the worker's own loader makes of the example file in this environment; it refuses unknown names."""
    return parse(tomllib.loads(SETTINGS.read_text(encoding="utf-8")), environment, SETTINGS)


@pytest.fixture(scope="module")
def config():
    return config_of(SERVICES["worker"]["environment"])


# --- Prometheus

KNOWN_LABELS = {
    **{metric.name: set(metric.labels) for metric in METRICS if metric.kind != "histogram"},
    **{
        f"{metric.name}_{part}": {*metric.labels, *(["le"] if part == "bucket" else [])}
        for metric in METRICS
        if metric.kind == "histogram"
        for part in ("bucket", "sum", "count")
    },
    "up": set(),
    "process_start_time_seconds": set(),
}
TARGET_LABELS = {"job", "instance"}


def series_of(expression):
    """The metrics of an expression, each with the labels asked of it."""
    plain = re.sub(r"\b(by|on)\s*\([^)]*\)", "", expression)
    for name, labels in re.findall(r"\b([a-z_]+[a-z0-9_]*)\b(?!\s*\()(?:\{([^}]*)\})?", plain):
        if name not in {"and", "or", "unless"} and not re.fullmatch(r"[smhd]", name):
            yield name, set(re.findall(r"(\w+)\s*[=!]", labels))


def test_prometheus_scrapes_the_worker_and_reads_the_mounted_rules(config):
    assert [scrape["job_name"] for scrape in PROMETHEUS["scrape_configs"]] == [JOB]
    assert PROMETHEUS["scrape_configs"][0]["static_configs"] == [
        {"targets": [f"worker:{config.control.port}"]}
    ]
    routes = {route.path for route in pages(Status([]), Metrics(), 1.0).routes}
    assert PROMETHEUS["scrape_configs"][0].get("metrics_path", "/metrics") in routes
    targets = {mount["source"]: Path(mount["target"]) for mount in SERVICES["prometheus"]["volumes"]}
    assert f"--config.file={targets['./deploy/prometheus.yml']}" in SERVICES["prometheus"]["command"]
    folder = targets["./deploy/prometheus.yml"].parent
    assert [folder / name for name in PROMETHEUS["rule_files"]] == [targets["./deploy/alerts.yml"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_ask_for_metrics_that_exist(rule):
    found = list(series_of(rule["expr"]))
    assert found
    for name, labels in found:
        assert name in KNOWN_LABELS, f"{name} is no metric of the worker"
        assert labels <= KNOWN_LABELS[name] | TARGET_LABELS
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"]):
        kept = set(group.replace(" ", "").split(","))
        assert kept <= TARGET_LABELS.union(*(KNOWN_LABELS[name] for name, _ in found))
    jobs = set(re.findall(r'job="([^"]*)"', rule["expr"]))
    assert jobs <= {JOB}
    assert b"\nprocess_start_time_seconds " in Metrics().exposition()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor == rule["alert"].lower()
    headings = re.findall(r"^### (\w+)$", OPERATIONS, re.MULTILINE)
    assert rule["alert"] in headings
    assert set(headings) == {one["alert"] for one in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_have_a_case_that_fires_and_one_that_does_not(rule):
    cases = [
        case for test in ALERT_TESTS for case in test["alert_rule_test"] if case["alertname"] == rule["alert"]
    ]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}


def test_the_series_of_the_alert_tests_are_the_workers():
    for test in ALERT_TESTS:
        for given in test["input_series"]:
            ((name, labels),) = series_of(given["series"])
            assert labels == KNOWN_LABELS[name] | TARGET_LABELS, given["series"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (of Prometheus) is not installed")
@pytest.mark.parametrize("words", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_promtool_agrees(words):
    done = subprocess.run(
        ["promtool", *words.split()], cwd=DEPLOY, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- docs/operations.md


def test_the_operations_page_names_settings_and_metrics_that_exist():
    known = {
        f"{one}.{setting.name}" for one, _ in reference.sections() for setting in reference.settings(one)
    }
    sections = "|".join(name for name, _ in reference.sections())
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)[` ]", OPERATIONS))
    assert named <= known
    assert len(named) > 10
    metrics = set(re.findall(r"\bstream_infer_[a-z_]+", OPERATIONS))
    assert metrics <= {metric.name for metric in METRICS}


def test_the_operations_page_lists_the_exit_codes():
    listed = {int(code) for code in re.findall(r"\| (\d+)(?= \|)", OPERATIONS)}
    codes = {
        one.exit_code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")
    }
    assert listed == (codes - {errors.WorkerError.exit_code}) | {0}


def test_the_stateful_set_fits_the_settings_and_the_image(config):
    (text,) = re.findall(r"```yaml\n(.+?)```", OPERATIONS, re.DOTALL)
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one.get("value", "smd-0") for one in container["env"]}
    there = config_of(environment)
    assert there.delivery.slot == "smd-0"
    assert (there.control.host, there.model.path) == (config.control.host, config.model.path)
    assert [port["containerPort"] for port in container["ports"]] == [there.control.port]
    assert container["image"] == SERVICES["worker"]["image"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert SERVICES["worker"]["stop_grace_period"] == f"{pod['terminationGracePeriodSeconds']}s"
    routes = {route.path for route in pages(Status([]), Metrics(), 1.0).routes}
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"/healthz", "/readyz"} & routes
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
