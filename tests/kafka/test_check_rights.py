"""Logins and rights against a real Kafka with SASL and an authorizer: what a worker lacks is named with its cure."""

import json
import time

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from stream_infer.cli import main
from stream_infer.cluster import Cluster, Topic
from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded import kafka as embedded
from stream_infer.embedded.ports import HOST, free_ports
from stream_infer.embedded.properties import server_properties
from stream_infer.errors import BrokerError

pytestmark = pytest.mark.kafka

PASSWORD = "c4n4ry-right"
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="admin" password="admin" user_admin="admin" user_worker="{PASSWORD}";'
)
APP = "rights"
TOPICS = ["events", "events.scored", "events.rejected", f"{APP}.state"]


@pytest.fixture(scope="module")
def brokers():
    """Addresses of one broker: without login (everything allowed), and with login and rights."""
    port = 0

    def with_login(node, cluster, log_dir, settings):
        nonlocal port
        (port,) = free_ports(1)  # at each try to start
        return server_properties(
            node,
            cluster,
            log_dir,
            {
                **settings,
                "listeners": f"PLAINTEXT://{node.address},LOGIN://{HOST}:{port},"
                f"CONTROLLER://{HOST}:{node.controller_port}",
                "advertised.listeners": f"PLAINTEXT://{node.address},LOGIN://{HOST}:{port}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.login.plain.sasl.jaas.config": JAAS,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "server_properties", with_login)
        with EmbeddedKafka(progress=print) as broker:
            open_address = broker.bootstrap_servers
            cluster = Cluster.open({"bootstrap.servers": open_address}, 60)
            cluster.create(
                [
                    *(Topic(name, 1, 1) for name in TOPICS[:2]),
                    Topic("events.rejected", 1, 1, {"max.message.bytes": "2000000"}),
                    Topic(f"{APP}.state", 1, 1, {"cleanup.policy": "compact"}),
                ]
            )
            yield open_address, f"{HOST}:{port}"


@pytest.fixture
def config(brokers, tmp_path):
    path = tmp_path / "worker.toml"
    path.write_text(
        f'[app]\nid = "{APP}"\n[kafka]\nbootstrap_servers = "{brokers[1]}"\nsecurity_protocol = "SASL_PLAINTEXT"\n'
        'sasl_mechanism = "PLAIN"\nsasl_username = "worker"\n[registry]\ndir = "."\n'
        '[input]\ntopic = "events"\nfeatures = "f"\n[model]\npath = "m"\n[control]\nport = 0\n'
    )
    return path


def check(path, password=PASSWORD):
    env = {"STREAM_INFER__KAFKA__SASL_PASSWORD": password}
    result = CliRunner(env=env).invoke(main, ["check", "-c", str(path), "--json"])
    assert password not in result.output
    return {one["name"]: (one["state"], one["detail"]) for one in json.loads(result.stdout)["checks"]}


def allow(brokers, kind, name, pattern, *operations):
    """Allow it, and wait until the broker goes by it, which may be after it has said yes."""
    admin = AdminClient({"bootstrap.servers": brokers[0]})
    wanted = [
        AclBinding(kind, name, pattern, "User:worker", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    for future in admin.create_acls(wanted).values():
        future.result(60)
    deadline = time.monotonic() + 60
    while any(not admin.describe_acls(binding_filter(one)).result(60) for one in wanted):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def binding_filter(acl):
    return AclBindingFilter(
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )


def test_a_wrong_password_is_said_at_once(brokers, config):
    began_s = time.monotonic()
    state, detail = check(config, "c4n4ry-wrong")["brokers"]
    assert time.monotonic() - began_s < 60
    assert state == "failed"
    assert "Authentication failed" in detail


def test_a_client_without_login_is_told_which_address_does_not_answer(brokers):
    with pytest.raises(BrokerError, match=rf"kafka\.bootstrap_servers = {brokers[1]}"):
        Cluster.open({"bootstrap.servers": brokers[1]}, 3).broker_count()


def test_missing_rights_are_named_one_after_the_other(brokers, config):
    answers = check(config)
    assert answers["brokers"][0] == "ok"
    assert answers["input topic"][0] == "failed"
    assert "events" in answers["input topic"][1]

    allow(brokers, ResourceType.TOPIC, "events", ResourcePatternType.LITERAL, AclOperation.READ)
    for name in TOPICS[1:]:
        allow(brokers, ResourceType.TOPIC, name, ResourcePatternType.LITERAL, AclOperation.WRITE)
    answers = check(config)
    assert [answers[name][0] for name in ("input topic", "scored topic", "reject topic", "state topic")] == [
        "ok"
    ] * 4
    assert answers["rights"][0] == "failed"
    assert f"offsets of group {APP} cannot be read" in answers["rights"][1]

    allow(brokers, ResourceType.GROUP, APP, ResourcePatternType.LITERAL, AclOperation.READ)
    answers = check(config)
    assert answers["rights"][0] == "failed"
    assert f"transactional ids with the prefix {APP}-" in answers["rights"][1]

    allow(
        brokers,
        ResourceType.TRANSACTIONAL_ID,
        f"{APP}-",
        ResourcePatternType.PREFIXED,
        AclOperation.WRITE,
        AclOperation.DESCRIBE,
    )
    assert check(config)["rights"] == ("ok", f"group {APP}, transactions of {APP}-…")
