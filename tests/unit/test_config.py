"""Settings: what is read, what is refused and in which words, and that secrets stay secret."""

import copy
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.config import load, parse, reference
from stream_infer.config.unsafe import UNSAFE
from stream_infer.errors import ConfigError

FILE = Path("/srv/app/worker.toml")
CANARY = "c4n4ry-s3cr3t"

LEAST = {
    "app": {"id": "smd"},
    "kafka": {"bootstrap_servers": "localhost:9092"},
    "registry": {"url": "http://localhost:8081"},
    "input": {"topic": "events", "features": "features"},
    "model": {"path": "models/smd"},
}


def make(environ=None, **sections):
    """Settings with these sections merged over the least that is needed."""
    data = copy.deepcopy(LEAST)
    for name, keys in sections.items():
        data[name] = {**data.get(name, {}), **keys} if isinstance(keys, dict) else keys
    return parse(data, environ or {}, FILE)


def refused(environ=None, **sections):
    with pytest.raises(ConfigError) as error:
        make(environ, **sections)
    return str(error.value)


def test_the_least_settings_have_these_defaults():
    config = make()
    assert config.output.scored_topic == "events.scored"
    assert config.output.reject_topic == "events.rejected"
    assert config.state.topic == "smd.state"
    assert config.delivery.mode == "exactly_once"
    assert config.kafka.group_protocol == "consumer"
    assert config.batch.max_events == 4000
    assert config.batch.linger_ms == 0
    assert config.control.host == "127.0.0.1"
    assert config.input.start == "earliest"
    assert config.input.entity is None
    assert "traceparent" in config.output.headers


def test_relative_paths_start_at_the_file():
    config = make(registry={"cache_dir": "cache"}, kafka={"ssl_ca_location": "/etc/ca.pem"})
    assert config.model.path == Path("/srv/app/models/smd")
    assert config.registry.cache_dir == Path("/srv/app/cache")
    assert config.kafka.ssl_ca_location == Path("/etc/ca.pem")


def test_the_environment_overrides_the_file_with_the_right_types(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = make(
        {
            "STREAM_INFER__BATCH__MAX_EVENTS": "17",
            "STREAM_INFER__CONTROL__ENABLED": "false",
            "STREAM_INFER__STATE__FLUSH_INTERVAL_S": "2.5",
            "STREAM_INFER__INPUT__FEATURES": "a, b.c",
            "STREAM_INFER__OUTPUT__HEADERS": "traceparent",
            "STREAM_INFER__INPUT__ENTITY": "",
            "STREAM_INFER__MODEL__PATH": "other",
            "STREAM_INFER__KAFKA__CONSUMER__FETCH_MIN_BYTES": "5",
            "STREAM_INFER_TEST_KAFKA": "not ours",
            "HOME": "not ours",
        },
        input={"entity": "machine"},
    )
    assert config.batch.max_events == 17
    assert config.control.enabled is False
    assert config.state.flush_interval_s == 2.5
    assert config.input.features == ("a", "b.c")
    assert config.output.headers == ("traceparent",)
    assert config.input.entity is None
    assert config.model.path == tmp_path / "other"
    assert config.kafka.consumer == {"fetch.min.bytes": "5"}


def test_librdkafka_names_may_be_quoted_or_dotted(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text(
        '[app]\nid = "smd"\n[kafka]\nbootstrap_servers = "b:1"\n'
        '[kafka.consumer]\nfetch.min.bytes = 7\n"fetch.wait.max.ms" = 9\n'
        '[registry]\ndir = "schemas"\n[input]\ntopic = "events"\nfeatures = ["a"]\n[model]\npath = "m"\n'
    )
    config = load(file, {})
    assert config.kafka.consumer_settings() == {
        "bootstrap.servers": "b:1",
        "security.protocol": "PLAINTEXT",
        "fetch.min.bytes": 7,
        "fetch.wait.max.ms": 9,
    }
    assert config.registry.dir == tmp_path / "schemas"


def test_the_example_is_valid_and_says_every_setting(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text(reference.example())
    config = load(file, {})
    assert config.input.topic == "events"
    text = file.read_text()
    for section, _ in reference.sections():
        for setting in reference.settings(section):
            assert (
                setting.kind == "table" or f"\n{setting.name} = " in text or f"\n# {setting.name} = " in text
            )


def test_commented_defaults_of_the_example_are_the_defaults(tmp_path):
    text = reference.example()
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and '"…"' not in line else line
        for line in text.splitlines()
    )
    file = tmp_path / "worker.toml"
    file.write_text(text)
    every = tmp_path / "every.toml"
    every.write_text(uncommented)
    assert load(every, {}) == load(file, {})


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"batch": {"max_event": 5}}, "unknown setting [batch] max_event; did you mean max_events?"),
        ({"bath": {"max_events": 5}}, "unknown section [bath]; did you mean batch?"),
        ({"delivery": {"max_events": 5}}, "unknown setting [delivery] max_events; it belongs in [batch]"),
        ({"log": {"zzz": 5}}, "unknown setting [log] zzz; [log] knows format, level"),
        ({"batch": {"max_events": "many"}}, '[batch] max_events = "many": must be a whole number'),
        ({"batch": {"max_events": True}}, "[batch] max_events = true: must be a whole number"),
        ({"batch": {"max_events": 1.5}}, "[batch] max_events = 1.5: must be a whole number"),
        ({"batch": {"max_events": 0}}, "[batch] max_events = 0: must be greater than or equal to 1"),
        ({"batch": 5}, "[batch]: must be a table"),
        ({"control": {"port": 70_000}}, "[control] port = 70000: must be less than or equal to 65535"),
        ({"control": {"enabled": "yes"}}, '[control] enabled = "yes": must be true or false'),
        (
            {"model": {"device": "gpu"}},
            "[model] device = \"gpu\": must be one of 'cpu', 'cuda' or 'tensorrt'",
        ),
        ({"app": {"id": "a b"}}, '[app] id = "a b": must be of letters, digits'),
        ({"input": {"features": []}}, "[input] features = []: names no field"),
        ({"input": {"features": ["a", "a"]}}, "names a field twice"),
        ({"input": {"topic": 5}}, "[input] topic = 5: must be a text in quotes"),
        ({"registry": {"dir": "schemas"}}, "registry.url and registry.dir exclude each other"),
        ({"registry": {"url": "localhost:8081"}}, "[registry] url: must begin with http:// or https://"),
        ({"registry": {"username": "me"}}, "registry.username and registry.password go together"),
        (
            {"shadow": {"model": "candidate", "source": "models:/detector@challenger"}},
            "set one of shadow.model (a folder) and shadow.source (a model and an alias to follow)",
        ),
        (
            {"model": {"path": None, "source": "models/detector@current", "sha256": "0" * 64}},
            "model.sha256 is that of a model that stays",
        ),
        ({"model": {"sha256": "abc"}}, "[model] sha256"),
        ({"output": {"scored_topic": "events"}}, "input.topic and output.scored_topic are both events"),
        ({"kafka": {"sasl_mechanism": "PLAIN"}}, "kafka.security_protocol = PLAINTEXT does not log in"),
        ({"kafka": {"security_protocol": "SASL_SSL"}}, "needs kafka.sasl_mechanism"),
        (
            {"kafka": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}},
            "needs kafka.sasl_username and kafka.sasl_password",
        ),
        ({"kafka": {"ssl_key_location": "k"}}, "kafka.ssl_certificate_location and kafka.ssl_key_location"),
        ({"kafka": {"consumer": {"a": [1]}}}, '"a" must be a text, a number or true/false'),
        (
            {"kafka": {"producer": {"message.timeout.ms": 10_000}}},
            '"message.timeout.ms" = 10000 must be a whole number, more than 0 and less than delivery',
        ),
        (
            {"kafka": {"producer": {"delivery.timeout.ms": 0}}},
            '"delivery.timeout.ms" = 0 must be a whole number, more than 0',
        ),
        (
            {"model": {"path": "m", "server_url": "http://h:1", "server_timeout_s": 5, "server_retries": 1}},
            "model.server_timeout_s times 1 + model.server_retries is 10 s, and must be less than",
        ),
        (
            {"model": {"path": "m", "server_url": "http://user:word@h:1"}},
            "[model] server_url: must be http://HOST:PORT or grpc://HOST:PORT",
        ),
        (
            {"delivery": {"commit_interval_ms": 6000}},
            "delivery.commit_interval_ms = 6000 must be at most half of delivery.transaction_timeout_ms = 10000",
        ),
        (
            {"shadow": {"commit_interval_ms": 3000}, "delivery": {"transaction_timeout_ms": 4000}},
            "shadow.commit_interval_ms = 3000 must be at most half of delivery.transaction_timeout_ms = 4000",
        ),
        (
            {"shadow": {"model": "c"}, "compare": {"max_latency_ratio": 2.0}},
            "shadow.commit_interval_ms = 1000 lets the shadow wait that long: set it to 0",
        ),
        (
            {"kafka": {"producer": {"message.timeout.ms": "soon"}}},
            '"message.timeout.ms" = soon must be a whole number',
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(sections, words):
    assert words in refused(**sections)


@pytest.mark.parametrize("section", ["app", "kafka", "input", "model"])
def test_a_missing_section_is_named(section):
    data = {name: keys for name, keys in LEAST.items() if name != section}
    with pytest.raises(ConfigError, match=rf"section \[{section}\] is missing"):
        parse(data, {}, FILE)


def test_a_missing_setting_is_named_once_with_its_variable():
    message = refused(app={"id": None})
    assert "[app] id" in message
    assert "state" not in message
    data = copy.deepcopy(LEAST) | {"input": {"features": "f"}}
    with pytest.raises(ConfigError) as error:
        parse(data, {}, FILE)
    assert (
        str(error.value) == f"{FILE}: [input] topic is missing: set it here or by STREAM_INFER__INPUT__TOPIC"
    )


def test_no_schemas_at_all_says_the_three_ways():
    data = {name: keys for name, keys in LEAST.items() if name != "registry"}
    with pytest.raises(ConfigError, match=r"registry\.url.*registry\.dir.*input\.schema_file"):
        parse(data, {}, FILE)
    data["input"] = data["input"] | {"schema_file": "x.avsc"}
    assert parse(data, {}, FILE).input.schema_file == Path("/srv/app/x.avsc")


def test_several_faults_are_told_together():
    message = refused(batch={"max_events": 0}, control={"port": -1})
    assert "max_events" in message
    assert "port" in message


def test_a_variable_at_fault_is_named():
    assert "(from environment STREAM_INFER__BATCH__MAX_EVENTS): must be a whole number" in refused(
        {"STREAM_INFER__BATCH__MAX_EVENTS": "many"}
    )
    assert "environment STREAM_INFER__BATCH__MAX_EVENT: unknown setting [batch] max_event" in refused(
        {"STREAM_INFER__BATCH__MAX_EVENT": "5"}
    )
    for malformed in ("STREAM_INFER__X", "STREAM_INFER__BATCH__", "STREAM_INFER____X"):
        assert "write STREAM_INFER__SECTION__KEY" in refused({malformed: "1"})


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"worker\.toml not found: `stream-infer config example > "):
        load(tmp_path / "worker.toml", {})


def test_a_file_that_is_not_toml_says_where(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text("[app]\nid = smd\n")
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 2"):
        load(file, {})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})


# --- unsafe client settings


@pytest.mark.parametrize("section", ["consumer", "producer"])
@pytest.mark.parametrize("name", [name for unsafe in UNSAFE for name in unsafe.names if "*" not in name])
def test_every_unsafe_setting_is_refused_with_a_reason(section, name):
    unsafe = next(one for one in UNSAFE if name in one.names)
    message = refused(kafka={section: {name: "none-such"}})
    assert f'[kafka.{section}] "{name}" is refused, because {unsafe.reason}; {unsafe.cure}' in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.auto.commit", False),
        ("isolation.level", "read_uncommitted"),
        ("enable.ssl.certificate.verification", False),
        ("enable.ssl.certificate.verification", "FALSE"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("sasl.oauthbearer.token.endpoint.url", "http://token"),
        ("test.mock.num.brokers", 3),
        ("default.topic.config.acks", 0),
        ("error_cb", "x"),
        ("allow.auto.create.topics", True),
    ],
)
def test_unsafe_values_are_refused(name, value):
    assert "is refused, because" in refused(kafka={"consumer": {name: value}})


def test_nested_tables_do_not_get_past_the_list():
    assert "is refused" in refused(kafka={"consumer": {"enable": {"auto": {"commit": True}}}})
    assert "is refused" in refused({"STREAM_INFER__KAFKA__CONSUMER__ENABLE_AUTO_COMMIT": "true"})
    assert "is refused" in refused({"STREAM_INFER__KAFKA__CONSUMER__ENABLE__AUTO__COMMIT": "true"})


def test_harmless_values_pass():
    config = make(
        kafka={
            "consumer": {"isolation.level": "read_committed", "fetch.min.bytes": 1},
            "producer": {"compression.type": "zstd", "message.timeout.ms": 9000},
        }
    )
    assert config.kafka.producer["compression.type"] == "zstd"


def test_tls_checks_can_be_switched_off_only_on_purpose():
    off = {"enable.ssl.certificate.verification": False}
    assert "kafka.insecure_tls = true" in refused(kafka={"consumer": off})
    config = make(kafka={"insecure_tls": True, "consumer": off})
    assert config.kafka.consumer_settings()["enable.ssl.certificate.verification"] == "false"


# --- secrets

SECRETS = {
    "kafka": {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "me",
        "sasl_password": CANARY,
        "ssl_key_password": CANARY,
        "consumer": {"ssl.keystore.password": CANARY, "sasl.oauthbearer.client.secret": CANARY},
        "producer": {"ssl.key.pem": CANARY, "sasl.oauthbearer.config": CANARY},
    },
    "registry": {"username": "me", "password": CANARY},
}


def test_secrets_reach_the_clients_and_nothing_else():
    config = make(**SECRETS)
    assert config.kafka.client_settings()["sasl.password"] == CANARY
    assert config.kafka.consumer_settings()["ssl.keystore.password"] == CANARY
    assert config.kafka.producer_settings()["ssl.key.pem"] == CANARY
    assert config.registry.client_settings()["basic.auth.user.info"] == f"me:{CANARY}"
    shown = [repr(config), str(config), f"{config.kafka}", config.model_dump_json(), str(config.model_dump())]
    shown += [str(reference.shown(config)), str(list(config)), str(vars(config.kafka))]
    for text in shown:
        assert CANARY not in text


@pytest.mark.parametrize(
    "sections",
    [
        {"kafka": {"sasl_password": [CANARY]}},
        {"kafka": {"sasl_password": {"a": CANARY}}},
        {"kafka": {"sasl_pasword": CANARY}},
        {"kafka": {"sasl_password": CANARY, "sasl_mechanism": "PLAIN"}},
        {"kafka": {"sasl_password": CANARY, "security_protocol": "SASL"}},
        {"kafka": {"consumer": {"sasl.password": CANARY}}},
        {"kafka": {"producer": {"ssl.key.pem": [CANARY]}}},
        {"kafka": {"producer": {"ssl.keystore.password": CANARY, "debug": "all"}}},
        {"kafka": CANARY},
        {"registry": {"url": f"https://me:{CANARY}@registry"}},
        {"registry": {"url": f"ftp://me:{CANARY}@registry"}},
        {"registry": {"password": CANARY}},
        {"registry": {"password": CANARY, "dir": "x"}},
        {"registry": {"pasword": CANARY}},
        {"model": {"path": "m", "server_url": f"http://me:{CANARY}@h"}},
        {"model": {"path": "m", "server_token": [CANARY]}},
        {"batch": {"max_events": 0}, **SECRETS},
    ],
)
def test_errors_never_show_a_secret(sections):
    with pytest.raises(ConfigError) as error:
        make(**sections)
    assert CANARY not in str(error.value)
    assert CANARY not in "".join(traceback.format_exception(error.value))


def test_errors_never_show_a_secret_of_the_environment():
    for variable in ("KAFKA__SASL_PASSWORD__X", "KAFKA__SASL_PASWORD", "REGISTRY__PASSWORD", "REGISTRY__URL"):
        message = refused({f"STREAM_INFER__{variable}": CANARY})
        assert CANARY not in message


def test_settings_are_frozen():
    config = make()
    with pytest.raises(ValueError, match="frozen"):
        config.batch.max_events = 5
    assert pickle.loads(pickle.dumps(config)) == config


# --- anything at all

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.just(CANARY)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KNOWN = [
    (section, setting.name) for section, _ in reference.sections() for setting in reference.settings(section)
]


def refusal(data, environ=None):
    """The error's text, None where the settings are taken; anything but a ConfigError fails the test."""
    try:
        parse(data, environ or {}, FILE)
    except ConfigError as error:
        return str(error)
    return None


@given(st.sampled_from(KNOWN), VALUES)
def test_any_value_of_a_setting_is_taken_or_refused_by_name(place, value):
    section, name = place
    said = refusal({**LEAST, section: {**LEAST.get(section, {}), name: value}})
    assert said is None or (said.startswith(f"{FILE}: ") and (section in said or name in said))


@given(
    st.dictionaries(st.sampled_from([name for name, _ in KNOWN]) | st.text(max_size=8), VALUES, max_size=4)
)
def test_any_file_is_taken_or_refused(data):
    said = refusal({**LEAST, **data})
    assert said is None or len(said) > len(f"{FILE}: ")


@given(st.sampled_from(KNOWN), st.text(max_size=20))
def test_any_variable_is_taken_or_refused_by_name(place, value):
    section, name = place
    said = refusal(LEAST, {f"STREAM_INFER__{section}__{name}".upper(): value})
    assert said is None or section in said or name in said


@given(st.text("ABKAFZ_", max_size=20), st.text(max_size=20))
def test_any_other_variable_is_refused_by_its_name(tail, value):
    said = refusal(LEAST, {f"STREAM_INFER__{tail}": value})
    assert said is not None
    assert "STREAM_INFER__" in said or tail.split("__")[0].lower() in said
