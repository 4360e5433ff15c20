"""Topics, rejects and checks against a real Kafka."""

import json
import shutil
import socket
import time
import uuid
from contextlib import closing

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from stream_infer.checks import require
from stream_infer.cli import main
from stream_infer.cluster import Cluster, Topic
from stream_infer.config import load
from stream_infer.control import ControlServer, Metrics, Status
from stream_infer.errors import BrokerError, ModelError, RegistryError
from stream_infer.records import Position
from stream_infer.rejects import Reject
from stream_infer.topics import GROUP_SETTINGS
from tests.kafka.deployment import SCHEMA_ID, stop_reading_at_end
from tests.rejected import headers_of

pytestmark = pytest.mark.kafka


def call(*args, **options):
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


class Worker:
    """Settings of an app of its own on the broker of the tests."""

    def __init__(self, kafka, folder):
        self.kafka = kafka
        self.app = f"app{uuid.uuid4().hex[:8]}"
        self.input = f"{self.app}.events"
        self.path = folder / "worker.toml"
        self.write()

    def write(self, more=""):
        self.path.write_text(
            f'[app]\nid = "{self.app}"\n[kafka]\nbootstrap_servers = "{self.kafka}"\n[registry]\ndir = "."\n'
            f'[input]\ntopic = "{self.input}"\nfeatures = "features"\n[model]\npath = "no-model"\n'
            f"[control]\nport = 0\n{more}"
        )

    @property
    def topics(self):
        return [self.input, f"{self.input}.scored", f"{self.input}.rejected", f"{self.app}.state"]


@pytest.fixture
def worker(kafka, tmp_path):
    worker = Worker(kafka, tmp_path)
    yield worker
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.delete_topics(worker.topics).values():
        future.exception(120)


@pytest.fixture
def cluster(kafka):
    return Cluster.open({"bootstrap.servers": kafka}, timeout_s=60)


def setting(kafka, of, name, kind=ResourceType.TOPIC):
    admin = AdminClient({"bootstrap.servers": kafka})
    resource = ConfigResource(kind, of)
    return admin.describe_configs([resource])[resource].result(60)[name].value


def wait_set(kafka, of, name, value, kind=ResourceType.TOPIC):
    """Brokers go by a setting some time after they have said yes."""
    deadline = time.monotonic() + 60
    while (found := setting(kafka, of, name, kind)) != value:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


# --- topics


def test_create_makes_all_topics_with_the_inputs_partitions(worker, cluster, kafka):
    result = call("topics", "create", "-c", worker.path, "--input-partitions", 3)
    assert result.exit_code == 0, result.output
    found = cluster.topics(worker.topics)
    assert {name: topic.partition_count for name, topic in found.items()} == dict.fromkeys(worker.topics, 3)
    assert setting(kafka, f"{worker.app}.state", "cleanup.policy") == "compact"
    headroom = int(setting(kafka, f"{worker.input}.rejected", "max.message.bytes"))
    assert headroom >= int(setting(kafka, worker.input, "max.message.bytes")) + 16_384


def test_create_sets_how_long_a_groups_partitions_wait(worker, kafka, group_protocols):
    """For another worker: brokers would say 45 s, 5 s and 1 s."""
    if "consumer" not in group_protocols:
        pytest.skip("with the other protocol the session is the client's")
    result = call("topics", "create", "-c", worker.path, "--input-partitions", 1)

    assert f"group    {worker.app}: consumer.session.timeout.ms = 3000" in result.output
    for name, value in GROUP_SETTINGS.items():
        wait_set(kafka, worker.app, name, value, ResourceType.GROUP)


def test_settings_of_a_group_that_the_brokers_do_not_know_are_left_out(cluster, kafka, group_protocols):
    if "consumer" not in group_protocols:
        pytest.skip("there are none with the other protocol")
    group = f"group{uuid.uuid4().hex[:8]}"
    newer = {"consumer.session.timeout.ms": "3000", "consumer.of.a.later.kafka": "1"}

    assert cluster.configure_group(group, newer) == {"consumer.session.timeout.ms": "3000"}
    wait_set(kafka, group, "consumer.session.timeout.ms", "3000", ResourceType.GROUP)


def test_create_twice_changes_nothing(worker, cluster):
    assert call("topics", "create", "-c", worker.path, "--input-partitions", 2).exit_code == 0
    before = cluster.topics(worker.topics)
    again = call("topics", "create", "-c", worker.path)
    assert again.exit_code == 0, again.output
    assert "created" not in again.output
    assert again.output.count("exists") == 4
    assert cluster.topics(worker.topics) == before


def test_create_without_an_input_says_how(worker):
    result = call("topics", "create", "-c", worker.path)
    assert result.exit_code == BrokerError.exit_code
    assert f"input.topic = {worker.input} does not exist" in result.stderr
    assert "--input-partitions" in result.stderr


def test_other_partition_counts_are_an_error_that_names_both(worker, cluster):
    cluster.create([Topic(worker.input, 3, 1), Topic(f"{worker.input}.scored", 2, 1)])
    result = call("topics", "create", "-c", worker.path)
    assert result.exit_code == BrokerError.exit_code
    assert (
        f"output.scored_topic = {worker.input}.scored has 2 partitions, but input.topic = {worker.input} has 3"
        in result.stderr
    )
    wrong = call("topics", "create", "-c", worker.path, "--input-partitions", 5)
    assert "has 3 partitions, not 5" in wrong.stderr


def test_wrong_settings_are_told_and_repaired_on_demand(worker, cluster, kafka):
    state, rejects = f"{worker.app}.state", f"{worker.input}.rejected"
    cluster.create([Topic(worker.input, 1, 1, {"max.message.bytes": "2000000"}), Topic(state, 1, 1)])
    cluster.create([Topic(rejects, 1, 1, {"retention.ms": "123456789"})])
    told = call("topics", "create", "-c", worker.path)
    assert told.exit_code == BrokerError.exit_code
    assert f"state.topic = {state} has cleanup.policy = delete" in told.stderr
    assert "needs max.message.bytes = 2065536" in told.stderr
    assert "repaired" not in told.output
    repaired = call("topics", "create", "-c", worker.path, "--repair")
    assert repaired.exit_code == 0, repaired.output
    wait_set(kafka, state, "cleanup.policy", "compact")
    wait_set(kafka, rejects, "max.message.bytes", "2065536")
    # What the repair is not about stays as its owner set it.
    assert setting(kafka, rejects, "retention.ms") == "123456789"


def test_show_tells_sizes_and_what_is_missing(worker, cluster):
    cluster.create([Topic(worker.input, 2, 1)])
    result = call("topics", "show", "-c", worker.path)
    assert result.exit_code == 0, result.output
    assert f"{worker.input}: 2 partitions, 1 copies" in result.output
    assert f"{worker.app}.state: missing" in result.output


def test_asking_for_a_topic_does_not_create_it(worker, cluster):
    assert cluster.topics([worker.input]) == {}
    assert call("topics", "show", "-c", worker.path).exit_code == BrokerError.exit_code
    assert call("rejects", "list", "-c", worker.path).exit_code == BrokerError.exit_code
    assert cluster.topics([worker.input, f"{worker.input}.rejected"]) == {}


# --- rejects

NOW_MS = int(time.time() * 1000)


def reject(worker, number, **changes):
    parts = {
        "stage": "decode",
        "error": "truncated",
        "reason": f"ends in field {number}",
        "source": Position(worker.input, number % 2, 1000 + number),
        "schema_id": 7,
        "model_version": "1",
        "source_time_ms": NOW_MS - 60_000 + number,
        "time_ms": NOW_MS - 50_000 + number,
    }
    return Reject(**parts | changes)


def write(kafka, topic, records, commit=True):
    """Write rejects as the worker does, in one transaction, and wait until readers see its end."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"write-{uuid.uuid4()}"})
    producer.init_transactions(60)
    producer.begin_transaction()
    for partition, key, value, headers in records:
        producer.produce(topic, key=key, value=value, headers=headers, partition=partition)
    assert producer.flush(60) == 0
    if commit:
        producer.commit_transaction(60)
    else:
        producer.abort_transaction(60)
    stop_reading_at_end(kafka, topic)


@pytest.fixture
def filled(worker, kafka):
    """A reject topic of 2 partitions with 10 rejects, records that are none, and an aborted one."""
    assert call("topics", "create", "-c", worker.path, "--input-partitions", 2).exit_code == 0
    topic = f"{worker.input}.rejected"
    own = [("traceparent", b"00-1-2-01"), ("nothing", None), ("binary", b"\xff\x00")]
    rejects = [
        reject(worker, number, stage="window", error="feature_missing")
        if number >= 8
        else reject(worker, number)
        for number in range(10)
    ]
    write(
        kafka,
        topic,
        [
            (
                one.source.partition,
                b"key\x00%d" % number,
                b"\x00\x00\x00\x00\x07\xffvalue%d" % number,
                headers_of(one, own),
            )
            for number, one in enumerate(rejects)
        ],
    )
    write(
        kafka,
        topic,
        [
            (0, None, b"not a reject", None),
            (1, None, None, [("stream_infer.reject", b'{"stage": "decode"}')]),
        ],
    )
    write(kafka, topic, [(0, b"k", b"aborted", headers_of(reject(worker, 99)))], commit=False)
    return worker


def listed(worker, *args):
    result = call("rejects", "list", "-c", worker.path, "--json", *args)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_shows_committed_rejects_alone_oldest_first(filled):
    rows = listed(filled)
    assert [row["source_offset"] for row in rows] == [1000 + number for number in range(10)]
    assert rows[3]["reason"] == "ends in field 3"
    assert rows[3]["schema_id"] == 7
    text = call("rejects", "list", "-c", filled.path)
    assert f"decode/truncated  {filled.input}[1]@1003  ends in field 3" in text.stdout
    assert "10 of 10 rejects" in text.stderr


def test_list_filters_and_limits(filled):
    assert [row["source_offset"] for row in listed(filled, "--stage", "window")] == [1008, 1009]
    assert len(listed(filled, "--error", "truncated")) == 8
    assert listed(filled, "--stage", "score") == []
    assert [row["source_offset"] for row in listed(filled, "--limit", "3")] == [1007, 1008, 1009]
    assert len(listed(filled, "--since", "1h")) == 10
    assert listed(filled, "--since", "1s") == []


def test_show_tells_headers_and_bytes(filled):
    row = listed(filled)[2]
    result = call("rejects", "show", "-c", filled.path, row["partition"], row["offset"])
    assert result.exit_code == 0, result.output
    assert "ends in field 2" in result.output
    assert "traceparent" in result.output
    assert "00 00 00 00 07 ff 76 61  6c 75 65 32" in result.output
    assert "........alue2" not in result.output
    assert "......value2" in result.output


def test_show_decodes_what_can_be_read(worker, kafka):
    assert call("topics", "create", "-c", worker.path, "--input-partitions", 2).exit_code == 0
    (worker.path.parent / "7-point.avsc").write_text(
        json.dumps({"type": "record", "name": "Point", "fields": [{"name": "x", "type": "long"}]})
    )
    headers = headers_of(reject(worker, 0))
    topic = f"{worker.input}.rejected"
    write(kafka, topic, [(0, b"k", b"\0\0\0\0\x07\x54", headers), (0, b"k", b"\0\0\0\0\x07\x80", headers)])
    good = call("rejects", "show", "-c", worker.path, 0, 0)
    assert good.exit_code == 0, good.output
    assert '"x": 42' in good.output
    bad = call("rejects", "show", "-c", worker.path, 0, 1)
    assert bad.exit_code == 0, bad.output
    assert "cannot be decoded: " in bad.output


@pytest.mark.parametrize("place", [(0, 10_000), (9, 0)])
def test_show_of_nothing_is_an_error(filled, place):
    result = call("rejects", "show", "-c", filled.path, *place)
    assert result.exit_code == BrokerError.exit_code
    assert "is no reject" in result.stderr


def test_replay_sends_the_original_record_back(filled, kafka):
    result = call("rejects", "replay", "-c", filled.path, "--error", "truncated", "-y")
    assert result.exit_code == 0, result.output
    assert f"8 rejects sent to {filled.input}" in result.output
    found = stop_reading_at_end(kafka, filled.input)
    assert sorted(one.value() for one in found) == [
        b"\x00\x00\x00\x00\x07\xffvalue%d" % number for number in range(8)
    ]
    for one in found:
        number = int(one.value()[-1:])
        assert one.key() == b"key\x00%d" % number
        assert one.headers() == [("traceparent", b"00-1-2-01"), ("nothing", None), ("binary", b"\xff\x00")]
        assert one.partition() == number % 2
        assert one.timestamp()[1] == NOW_MS - 60_000 + number


def test_replay_asks_first_and_a_dry_run_sends_nothing(filled, kafka):
    dry = call("rejects", "replay", "-c", filled.path, "--dry-run")
    assert "10 rejects would be sent" in dry.output
    refused = call("rejects", "replay", "-c", filled.path, input="n\n")
    assert refused.exit_code == 130
    assert "Send 10 rejects to" in refused.output
    assert stop_reading_at_end(kafka, filled.input) == []
    accepted = call("rejects", "replay", "-c", filled.path, "--limit", 4, input="y\n")
    assert accepted.exit_code == 0, accepted.output
    assert "4 rejects sent" in accepted.output
    assert len(stop_reading_at_end(kafka, filled.input)) == 4


def test_replay_to_another_topic(filled, kafka, topic):
    other = topic("other", partitions=1)
    result = call("rejects", "replay", "-c", filled.path, "--to", other, "--stage", "window", "-y")
    assert result.exit_code == 0, result.output
    # The partition of the record does not exist there: its key decides.
    assert len(stop_reading_at_end(kafka, other)) == 2
    missing = call("rejects", "replay", "-c", filled.path, "--to", "no-such-topic", "-y")
    assert missing.exit_code == BrokerError.exit_code
    assert "topic no-such-topic does not exist" in missing.stderr


def test_replay_of_what_the_topic_does_not_take_says_how_many_arrived(filled, topic):
    small = topic("small", partitions=2, config={"max.message.bytes": "60"})
    result = call("rejects", "replay", "-c", filled.path, "--to", small, "-y")
    assert result.exit_code == BrokerError.exit_code
    assert "took 0 records, then refused one" in result.stderr


def test_an_empty_reject_topic_lists_nothing(worker):
    assert call("topics", "create", "-c", worker.path, "--input-partitions", 2).exit_code == 0
    result = call("rejects", "list", "-c", worker.path)
    assert result.exit_code == 0, result.stderr
    assert "no rejects" in result.stderr
    assert listed(worker) == []


# --- check


def checked(config, *args):
    result = call("check", "-c", config, "--json", *args)
    answer = json.loads(result.stdout)
    assert result.exit_code == (0 if answer["ok"] else 1)
    return {one["name"]: (one["state"], one["detail"]) for one in answer["checks"]}


def test_check_of_a_good_deployment_is_all_ok(deploy):
    deployment = deploy(partitions=2)
    answers = checked(deployment.config)
    assert [one for one in answers.items() if one[1][0] != "ok"] == []
    assert list(answers) == [
        "client", "brokers", "input topic", "scored topic", "reject topic", "state topic", "rights", "model", "schema",
        "control",
    ]  # fmt: skip
    single = [name for name, (_, detail) in answers.items() if "one copy" in detail]
    assert single == ["scored topic", "reject topic", "state topic"]
    text = call("check", "-c", deployment.config)
    assert text.exit_code == 0
    assert text.output.count("\n") == len(answers)
    require(load(deployment.config, {}))


def test_check_without_brokers_names_the_address_and_goes_on(deploy):
    deployment = deploy(partitions=1)
    toml = deployment.config.read_text().replace(deployment.servers, "127.0.0.1:1")
    deployment.config.write_text(toml)
    began_s = time.monotonic()
    answers = checked(deployment.config)
    assert time.monotonic() - began_s < 120
    state, detail = answers["brokers"]
    assert state == "failed"
    assert "kafka.bootstrap_servers = 127.0.0.1:1" in detail
    assert "Connection refused" in detail
    assert answers["input topic"] == ("skipped", "needs the brokers")
    assert answers["model"][0] == "ok"
    assert answers["schema"][0] == "ok"
    with pytest.raises(BrokerError, match="Connection refused"):
        require(load(deployment.config, {}))


def test_check_tells_missing_and_unfit_topics_and_the_command(worker, cluster):
    answers = checked(worker.path)
    assert answers["input topic"][0] == "failed"
    assert f"topics create -c {worker.path} --input-partitions N" in answers["input topic"][1]
    assert answers["state topic"] == ("skipped", "needs the input topic")
    cluster.create(
        [Topic(worker.input, 2, 1), Topic(f"{worker.input}.scored", 3, 1), Topic(f"{worker.app}.state", 2, 1)]
    )
    answers = checked(worker.path)
    assert answers["input topic"][0] == "ok"
    assert "has 3 partitions, but input.topic" in answers["scored topic"][1]
    assert (
        f"does not exist: `stream-infer topics create -c {worker.path}` makes it"
        in answers["reject topic"][1]
    )
    assert "cleanup.policy = delete" in answers["state topic"][1]
    assert answers["model"][0] == "failed"
    assert answers["schema"] == ("skipped", "needs the model")


def test_check_of_a_damaged_model_names_the_file(deploy, tmp_path):
    deployment = deploy(partitions=1)
    copy = tmp_path / "damaged"
    shutil.copytree(deployment.model, copy)
    damaged = copy / "profiles.npz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    deployment.config.write_text(deployment.config.read_text().replace(str(deployment.model), str(copy)))
    state, detail = checked(deployment.config)["model"]
    assert state == "failed"
    assert "profiles.npz" in detail
    with pytest.raises(ModelError, match=r"profiles\.npz"):
        require(load(deployment.config, {}))


def test_check_of_a_schema_without_a_field_names_the_field(deploy):
    deployment = deploy(partitions=1, input={"entity": "machine"})
    state, detail = checked(deployment.config)["schema"]
    assert state == "failed"
    assert "machine" in detail
    assert "[input]" in detail


def test_check_asks_the_registry_for_the_newest_schema(deploy, registry):
    deployment = deploy(partitions=1)
    schema = (deployment.folder / "schemas" / f"{SCHEMA_ID}-event.avsc").read_text()
    toml = deployment.config.read_text()
    deployment.config.write_text(toml.replace('dir = "schemas"', f'url = "{registry}"\ntimeout_s = 60'))
    state, detail = checked(deployment.config)["schema"]
    assert state == "ok"
    assert f"no schema of {deployment.topic}-value yet" in detail
    with closing(SchemaRegistryClient({"url": registry, "timeout": 60})) as client:
        schema_id = client.register_schema(f"{deployment.topic}-value", Schema(schema, "AVRO"))
    state, detail = checked(deployment.config)["schema"]
    assert state == "ok"
    assert f"(id {schema_id}) has every field" in detail
    deployment.config.write_text(
        deployment.config.read_text().replace('entity = "entity_id"', 'entity = "machine"')
    )
    state, detail = checked(deployment.config)["schema"]
    assert state == "failed"
    assert "machine" in detail


def test_check_of_an_unreachable_registry_names_the_setting(deploy):
    deployment = deploy(partitions=1)
    toml = deployment.config.read_text()
    deployment.config.write_text(toml.replace('dir = "schemas"', 'url = "http://127.0.0.1:1"'))
    state, detail = checked(deployment.config)["schema"]
    assert state == "failed"
    assert "registry.url = http://127.0.0.1:1 cannot be reached" in detail
    with pytest.raises(RegistryError):
        require(load(deployment.config, {}))


def test_check_of_a_taken_port_names_it_unless_it_is_our_own_worker(deploy):
    deployment = deploy(partitions=1)
    toml = deployment.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        deployment.config.write_text(toml.replace("port = 0", f"port = {port}"))
        state, detail = checked(deployment.config)["control"]
        assert state == "failed"
        assert f"control.port = {port}" in detail
    status = Status(())
    status.fact(app=deployment.app)
    control = ControlServer("127.0.0.1", port, status, Metrics(), 30)
    control.open()
    try:
        state, detail = checked(deployment.config)["control"]
        assert state == "ok"
        assert "in use by a running worker of this app" in detail
    finally:
        control.close()


def test_check_of_an_unknown_client_setting_names_it(worker):
    worker.write('[kafka.producer]\n"none.such" = 1\n[kafka.consumer]\n"socket.none.such" = 1\n')
    state, detail = checked(worker.path)["brokers"]
    assert state == "failed"
    assert '"socket.none.such"' in detail
