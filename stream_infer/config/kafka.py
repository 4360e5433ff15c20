"""How to reach the brokers, and the common base of all sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from stream_infer.config.unsafe import Scalar, refusal
from stream_infer.log import SECRET_NAME

__all__ = ["Kafka", "Section"]


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no values in error texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


def _flat(tree: Any, prefix: str = "") -> Any:
    """TOML reads ``fetch.min.bytes = 1`` as nested tables: join the names again, and hide secrets."""
    if not isinstance(tree, dict):
        return tree
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flat(value, f"{name}.")
        elif not isinstance(value, str | int | float):
            raise ValueError(f'"{name}" must be a text, a number or true/false')  # noqa: TRY004 (pydantic's rule)
        else:
            flat[name] = SecretStr(str(value)) if SECRET_NAME.search(name) else value
    return flat


ClientSettings = Annotated[dict[str, Any], BeforeValidator(_flat)]


class Kafka(Section):
    """How to reach the brokers."""

    bootstrap_servers: str = Field(min_length=1)
    """Addresses of some brokers, `host:port`, separated by commas."""
    group_protocol: Literal["consumer", "classic"] = "consumer"
    """How workers share the partitions: `consumer` (KIP-848, brokers from 4.0 on) or `classic`."""
    lane: Literal["auto", "ordinary", "native"] = "auto"
    """How records get in and out: `native` takes and gives whole batches past the client's Python objects, at a
    fraction of the cost; `ordinary` uses the client alone; `auto` is native where it proves itself at start."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Encryption and login of the connection."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = None
    """How to log in, for the two `SASL_` protocols."""
    sasl_username: str | None = None
    """User name of the login."""
    sasl_password: SecretStr | None = None
    """Password of the login. Best given by the environment."""
    ssl_ca_location: Path | None = None
    """File of the authority that signed the brokers' certificates; else the system's."""
    ssl_certificate_location: Path | None = None
    """File of this client's own certificate (mutual TLS)."""
    ssl_key_location: Path | None = None
    """File of the private key of that certificate."""
    ssl_key_password: SecretStr | None = None
    """Password of that private key. Best given by the environment."""
    insecure_tls: bool = False
    """Allow the checks of the brokers' certificates to be switched off in the two sections below.
    For tests only: anyone on the way can then read and write the topics."""
    consumer: ClientSettings = Field(default_factory=dict)
    """Further librdkafka settings of the consumers by their own names (in the environment `_` is for `.`).
    Unsafe ones are refused, see below. Those of the connection (`sasl.*`, `ssl.*`) serve all commands."""
    producer: ClientSettings = Field(default_factory=dict)
    """Further librdkafka settings of the producer, likewise."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        for section, settings in (("consumer", self.consumer), ("producer", self.producer)):
            for name, value in settings.items():
                why = refusal(name, _plain(value), insecure_tls=self.insecure_tls)
                if why:
                    raise ValueError(f'[kafka.{section}] "{name}" is {why}')
        return self

    @model_validator(mode="after")
    def _login(self) -> Self:
        sasl = self.security_protocol.startswith("SASL")
        if sasl and not self.sasl_mechanism:
            raise ValueError(
                f"kafka.security_protocol = {self.security_protocol} needs kafka.sasl_mechanism "
                "(such as SCRAM-SHA-512)"
            )
        if self.sasl_mechanism and not sasl:
            raise ValueError(
                "kafka.sasl_mechanism is set, but kafka.security_protocol = "
                f"{self.security_protocol} does not log in; set it to SASL_SSL"
            )
        needs_user = self.sasl_mechanism in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
        if needs_user and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"kafka.sasl_mechanism = {self.sasl_mechanism} needs kafka.sasl_username and "
                "kafka.sasl_password (best as STREAM_INFER__KAFKA__SASL_PASSWORD)"
            )
        if bool(self.ssl_certificate_location) != bool(self.ssl_key_location):
            raise ValueError(
                "kafka.ssl_certificate_location and kafka.ssl_key_location go together: set both"
            )
        return self

    def client_settings(self) -> dict[str, Scalar]:
        """Settings of any client by their librdkafka names, secrets in clear: never log them."""
        given: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password,
        }
        return {name: _plain(value) for name, value in given.items() if value is not None}

    def consumer_settings(self) -> dict[str, Scalar]:
        """Settings of a consumer: the client's and [kafka.consumer]. Secrets in clear."""
        return self.client_settings() | {name: _plain(value) for name, value in self.consumer.items()}

    def producer_settings(self) -> dict[str, Scalar]:
        """Settings of a producer: the client's and [kafka.producer]. Secrets in clear."""
        return self.client_settings() | {name: _plain(value) for name, value in self.producer.items()}

    def admin_settings(self) -> dict[str, Scalar]:
        """Settings of an admin client: the client's and the connection settings of [kafka.consumer]."""
        connection = ("sasl.", "ssl.", "https.", "enable.ssl.", "socket.", "client.", "broker.address.")
        settings = self.consumer_settings()
        base = self.client_settings()
        return base | {k: v for k, v in settings.items() if k not in base and k.startswith(connection)}


def _plain(value: Any) -> Scalar:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    plain: Scalar = value
    return plain
