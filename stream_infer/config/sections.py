"""One frozen class per section of the settings file. The docstrings are the reference (docs/config.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from stream_infer.config.compare import Compare
from stream_infer.config.kafka import Kafka, Section
from stream_infer.config.model import ModelSettings
from stream_infer.config.quarantine import Quarantine
from stream_infer.config.shadow import Shadow

__all__ = [
    "App",
    "BatchSettings",
    "Config",
    "Control",
    "Delivery",
    "Input",
    "Log",
    "ModelSettings",
    "Output",
    "RegistrySettings",
    "State",
]

TRACE_HEADERS = (
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
)

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


class App(Section):
    """Who this worker is."""

    id: Name
    """Name of the deployment: its consumer group, prefix of its transactional ids and of the state topic."""


class RegistrySettings(Section):
    """Where the Avro schemas are. Either `url` or `dir`; neither only where `input.schema_file` is set."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    """Address of a Confluent-compatible schema registry."""
    dir: Path | None = None
    """Folder of `.avsc` files, for those without a registry (fixed ids, same wire format)."""
    username: str | None = None
    """User name for the registry."""
    password: SecretStr | None = None
    """Password for the registry. Best given by the environment."""
    ssl_ca_location: Path | None = None
    """File of the certificate authority that signed the registry's certificate; else the system's."""
    ssl_certificate_location: Path | None = None
    """File of this client's own certificate (mutual TLS)."""
    ssl_key_location: Path | None = None
    """File of the private key of that certificate."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Longest wait for one answer of the registry."""
    cache_dir: Path | None = None
    """Folder that keeps the schemas once fetched, so that a restart needs no registry."""

    @field_validator("url")
    @classmethod
    def _no_login_in_url(cls, url: str | None) -> str | None:
        if url and "@" in url.split("//", 1)[1].split("/", 1)[0]:
            raise ValueError(
                "holds a user or password; set registry.username and registry.password instead "
                "(best as STREAM_INFER__REGISTRY__PASSWORD)"
            )
        return url

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.url and self.dir:
            raise ValueError("registry.url and registry.dir exclude each other: remove one")
        if bool(self.username) != bool(self.password):
            raise ValueError("registry.username and registry.password go together: set both or none")
        if bool(self.ssl_certificate_location) != bool(self.ssl_key_location):
            raise ValueError(
                "registry.ssl_certificate_location and registry.ssl_key_location go together: set both"
            )
        return self

    def client_settings(self) -> dict[str, str]:
        """Settings of confluent-kafka's registry client, secrets in clear: never log them."""
        login = f"{self.username}:{self.password.get_secret_value()}" if self.password else None
        given = {
            "url": self.url,
            "basic.auth.user.info": login,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


class Input(Section):
    """The events: where they come from and which of their fields mean what."""

    topic: TopicName
    """Topic of the events."""
    features: str | tuple[str, ...]
    """What the model looks at: the name of one array field, or a list of numeric fields in any order (dotted
    paths reach into nested records). The model's manifest says the order of its features."""
    entity: str | None = None
    """Field that says which time series an event belongs to; the record's key where not set."""
    time: str | None = None
    """Field of the event's time; the record's timestamp where not set."""
    event_id: str | None = None
    """Field of the event's id; `topic-partition-offset` where not set."""
    schema_file: Path | None = None
    """An `.avsc` file, for payloads that are bare Avro bodies of that one schema, without a schema id."""
    max_event_bytes: int = Field(default=1_048_576, ge=1, le=1_073_741_824)
    """Longer payloads are rejected before they are decoded."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group without committed offsets starts. Later the committed offsets count alone."""
    on_gap: Literal["stop", "skip"] = "stop"
    """When events fell out of the topic before they were read: `stop` with an error, or `skip` them."""

    @field_validator("features")
    @classmethod
    def _some(cls, features: str | tuple[str, ...]) -> str | tuple[str, ...]:
        names = (features,) if isinstance(features, str) else features
        if not names or not all(names):
            raise ValueError("names no field: give the array field's name or a list of numeric fields")
        if len(set(names)) != len(names):
            raise ValueError("names a field twice")
        return features


class Output(Section):
    """Where the results go."""

    scored_topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.scored"})
    """Topic of the scored events. Partitions as the input's."""
    reject_topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.rejected"})
    """Topic of the records that could not be scored, with their original bytes. Partitions as the input's."""
    correction_topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.corrected"})
    """Topic of what `stream-infer model rollback --rescore` corrects: scored events; made when it is first needed."""
    headers: tuple[str, ...] = TRACE_HEADERS
    """Record headers that are passed on from an event to its scored event."""


class Delivery(Section):
    """The promise, and the transactions that keep it (docs/delivery.md)."""

    mode: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """`exactly_once` (results and offsets in one Kafka transaction) or `at_least_once` (results first, then
    offsets: after a crash some events are scored twice)."""
    commit_interval_ms: int = Field(default=100, ge=0, le=60_000)
    """Under load a transaction is cut when it is this old; at low rates as soon as the input pauses."""
    transaction_timeout_ms: int = Field(default=10_000, ge=2_000, le=900_000)
    """The broker ends a dead worker's transaction after this time; its partitions wait until then."""
    drain_timeout_s: float = Field(default=10.0, ge=0, le=600)
    """After SIGTERM: how long the work in hand may take to be finished and committed."""
    slot: Name | None = None
    """Stable, unique name of this worker among its siblings, such as a StatefulSet's ordinal. The
    transactional id is then `<app.id>-<slot>`, so that a restart ends the old transaction at once."""


class BatchSettings(Section):
    """How many records go through the model together."""

    max_events: int = Field(default=4000, ge=1, le=1_000_000)
    """A batch holds at most so many records."""
    max_bytes: int = Field(default=8_388_608, ge=1024, le=1_073_741_824)
    """A batch is cut when its payloads reach this size."""
    linger_ms: int = Field(default=0, ge=0, le=10_000)
    """Wait so long for a batch to fill. 0 takes what is there: batches grow under load by themselves."""


class State(Section):
    """What the worker remembers of each entity, and how it is restored."""

    topic: TopicName = Field(json_schema_extra={"derived": "<app.id>.state"})
    """Compacted topic of the entities' state. Partitions as the input's."""
    flush_interval_s: float = Field(default=10.0, gt=0, le=3600)
    """Changed entities are written at least this often; a restore replays at most this much input."""
    restore_target_s: float = Field(default=2.0, gt=0, le=3600)
    """Flushes adapt so that a restore replays about this long, also under full load."""
    idle_ttl_s: float = Field(default=0.0, ge=0)
    """An entity without events for so long is forgotten. 0: never."""


class Control(Section):
    """The HTTP server of `/metrics`, `/healthz`, `/readyz` and `/status`."""

    enabled: bool = True
    """Serve them at all."""
    host: str = "127.0.0.1"
    """Address to listen on. It has no login: `0.0.0.0` only inside a private network."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on; 0 takes any free one."""
    stalls_file: Path | None = None
    """File of this worker alone that keeps `stream_infer_stalls_total` over restarts; its folder must exist."""


class Log(Section):
    """Log lines go to standard error, one per event that matters."""

    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for machines."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""


class Config(Section):
    """All settings of a worker."""

    app: App
    kafka: Kafka
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    input: Input
    output: Output
    delivery: Delivery = Field(default_factory=Delivery)
    batch: BatchSettings = Field(default_factory=BatchSettings)
    state: State
    model: ModelSettings
    quarantine: Quarantine = Field(default_factory=Quarantine)
    shadow: Shadow
    compare: Compare
    control: Control = Field(default_factory=Control)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        topics = {
            "input.topic": self.input.topic,
            "output.scored_topic": self.output.scored_topic,
            "output.reject_topic": self.output.reject_topic,
            "output.correction_topic": self.output.correction_topic,
            "state.topic": self.state.topic,
            "shadow.comparison_topic": self.shadow.comparison_topic,
            "shadow.state_topic": self.shadow.state_topic,
        }
        seen: dict[str, str] = {}
        for setting, topic in topics.items():
            if topic in seen:
                raise ValueError(
                    f"{seen[topic]} and {setting} are both {topic}: each needs a topic of its own"
                )
            seen[topic] = setting
        return self

    @model_validator(mode="after")
    def _schemas_known(self) -> Self:
        if not (self.registry.url or self.registry.dir or self.input.schema_file):
            raise ValueError(
                "no schemas: set registry.url (a schema registry), registry.dir (a folder of .avsc files) "
                "or input.schema_file (one schema, bare payloads)"
            )
        return self

    @model_validator(mode="after")
    def _latencies_compare(self) -> Self:
        if self.shadow.is_set and self.compare.max_latency_ratio and self.shadow.commit_interval_ms:
            raise ValueError(
                f"compare.max_latency_ratio judges latencies, but shadow.commit_interval_ms = "
                f"{self.shadow.commit_interval_ms} lets the shadow wait that long: set it to 0, or leave the ratio out"
            )
        return self

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        limit_ms = self.delivery.transaction_timeout_ms
        for setting, interval_ms in (
            ("delivery.commit_interval_ms", self.delivery.commit_interval_ms),
            ("shadow.commit_interval_ms", self.shadow.commit_interval_ms),
        ):
            if interval_ms * 2 > limit_ms:
                raise ValueError(
                    f"{setting} = {interval_ms} must be at most half of delivery.transaction_timeout_ms = {limit_ms}, "
                    "after which the brokers end a transaction: lower it, or raise that"
                )
        for name in ("message.timeout.ms", "delivery.timeout.ms"):
            given = self.kafka.producer.get(name)
            if given is not None and not (str(given).isdecimal() and 0 < int(given) < limit_ms):
                raise ValueError(
                    f'[kafka.producer] "{name}" = {given} must be a whole number, more than 0 and less than '
                    f"delivery.transaction_timeout_ms = {limit_ms}"
                )
        asked_s = self.model.server_timeout_s * (self.model.server_retries + 1)
        if self.model.server_url is not None and asked_s * 1000 >= limit_ms:
            raise ValueError(
                f"model.server_timeout_s times 1 + model.server_retries is {asked_s:g} s, and must be less than "
                f"delivery.transaction_timeout_ms = {limit_ms}: lower one of them, or raise that"
            )
        return self
