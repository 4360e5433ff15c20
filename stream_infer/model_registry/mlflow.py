"""MLflow's model registry by its REST API; the package mlflow is not needed.

Artifacts are read and written through the tracking server (``mlflow server`` serves them by default); a version whose
artifact lies elsewhere, as a file or at a public address of its own, needs a server that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from stream_infer.errors import ModelRegistryError
from stream_infer.model_registry.registry import ModelVersion

__all__ = ["MlflowRegistry"]

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_FILES_MAX = 64
_BYTES_MAX = 4 << 30
_FOLDER = "model"
_EXPERIMENT = "0"
_MISSING = {
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
}  # the latter for an alias of a model that is there
_EXISTS = {"RESOURCE_ALREADY_EXISTS"}


class MlflowRegistry:
    """One registered model of the MLflow server at ``url``.

    ``connect`` makes a client with that base address, login and time-outs. One is made per request: they are seconds
    apart, and nothing is left to close.
    """

    def __init__(self, url: str, connect: Callable[[], httpx.Client], name: str) -> None:
        self._url = url.rstrip("/")
        self._connect = connect
        self._name = name

    def resolve(self, wanted: str) -> ModelVersion:
        """By alias (one small request), else by version number."""
        found = self._ask("GET", "registered-models/alias", {"name": self._name, "alias": wanted}, _MISSING)
        if found is None and wanted.isdecimal():
            found = self._ask("GET", "model-versions/get", {"name": self._name, "version": wanted}, _MISSING)
        if found is None:
            raise ModelRegistryError(
                f"models:/{self._name}@{wanted}: the MLflow server at {self._url} has no such alias or "
                f"version. Cure: `stream-infer model promote models:/{self._name} VERSION --alias {wanted}`"
            )
        return self._version(found["model_version"])

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Download the artifact's files, one after the other, into ``folder``."""
        wanted = {"name": version.name, "version": version.version}
        root = _path_of((self._ask("GET", "model-versions/get-download-uri", wanted) or {})["artifact_uri"])
        left_bytes = _BYTES_MAX
        for file in self._list(root):
            name = PurePosixPath(file["path"]).name
            left_bytes -= self._download(f"{root}/{name}", folder / name, left_bytes)

    def point(self, alias: str, version: str) -> None:
        """Set the alias."""
        self._ask(
            "POST",
            "registered-models/alias",
            {"name": self._name, "alias": alias, "version": version},
        )

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, the newest first, at most a thousand."""
        wanted = {"filter": f"name='{self._name}'", "max_results": 1000, "order_by": "version_number DESC"}
        found = self._ask("GET", "model-versions/search", wanted) or {}
        aliases = self._aliases()
        versions = found.get("model_versions", [])
        newest_first = sorted(versions, key=lambda one: int(one["version"]), reverse=True)
        return [self._version({**one, "aliases": aliases.get(one["version"], [])}) for one in newest_first]

    def add(self, folder: Path, version: str, metrics: Mapping[str, float]) -> ModelVersion:
        """Upload the artifact into a new run and register it; MLflow counts the versions itself."""
        run = self._new_run(version, metrics)
        root = _path_of(run["artifact_uri"])
        for file in sorted(folder.iterdir()):
            self._upload(f"{root}/{_FOLDER}/{file.name}", file)
        self._ask("POST", "registered-models/create", {"name": self._name}, _EXISTS)
        wanted = {
            "name": self._name,
            "source": f"{run['artifact_uri']}/{_FOLDER}",
            "run_id": run["run_id"],
        }
        made = self._ask("POST", "model-versions/create", wanted) or {}
        return self._version(made["model_version"])

    def _new_run(self, version: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        now_ms = time.time_ns() // 1_000_000
        wanted = {
            "experiment_id": _EXPERIMENT,
            "run_name": f"{self._name} {version}",
            "start_time": now_ms,
            "tags": [{"key": "stream_infer.version", "value": version}],
        }
        info: dict[str, Any] = (self._ask("POST", "runs/create", wanted) or {})["run"]["info"]
        logged = [
            {"key": key, "value": value, "timestamp": now_ms, "step": 0} for key, value in metrics.items()
        ]
        self._ask("POST", "runs/log-batch", {"run_id": info["run_id"], "metrics": logged})
        self._ask("POST", "runs/update", {"run_id": info["run_id"], "status": "FINISHED", "end_time": now_ms})
        return info

    def _aliases(self) -> dict[str, list[str]]:
        found = self._ask("GET", "registered-models/get", {"name": self._name}, _MISSING) or {}
        aliases: dict[str, list[str]] = {}
        for one in found.get("registered_model", {}).get("aliases", []):
            aliases.setdefault(str(one["version"]), []).append(one["alias"])
        return aliases

    def _version(self, said: dict[str, Any]) -> ModelVersion:
        run = said.get("run_id") or ""
        stage = said.get("current_stage") or "None"
        aliases = [*said.get("aliases", []), *([stage] if stage != "None" else [])]
        found = self._ask("GET", "runs/get", {"run_id": run}, _MISSING) if run else None
        data = (found or {}).get("run", {})
        experiment = data.get("info", {}).get("experiment_id", "")
        return ModelVersion(
            self._name,
            str(said["version"]),
            said.get("source", ""),
            tuple(sorted(set(aliases))),
            {one["key"]: float(one["value"]) for one in data.get("data", {}).get("metrics", [])},
            f"{self._url}/#/experiments/{experiment}/runs/{run}" if found else None,
        )

    def _list(self, root: str) -> list[dict[str, Any]]:
        files = self._json(self._send("GET", _FILES, params={"path": root})).get("files", [])
        kept = [file for file in files if not file.get("is_dir")]
        if not kept or len(kept) > _FILES_MAX:
            raise ModelRegistryError(
                f"{root}: {len(kept)} files in the MLflow server's artifacts, expected those of one model. "
                f"Cure: register it with `stream-infer model register ARTIFACT models:/{self._name}`"
            )
        return kept

    def _download(self, path: str, target: Path, limit: int) -> int:
        taken = 0
        try:
            with self._connect() as client, client.stream("GET", f"{_FILES}/{quote(path)}") as answer:
                if answer.is_error:
                    answer.read()
                self._accepted(answer)
                with target.open("wb") as file:
                    for part in answer.iter_bytes():
                        taken += len(part)
                        if taken > limit:
                            raise ModelRegistryError(f"{path}: larger than any artifact of stream-infer")
                        file.write(part)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return taken

    def _upload(self, path: str, file: Path) -> None:
        with file.open("rb") as content:
            self._send("PUT", f"{_FILES}/{quote(path)}", content=content)

    def _ask(
        self, method: str, what: str, wanted: dict[str, Any], passing: Collection[str] = ()
    ) -> dict[str, Any] | None:
        """The answer of the registry; None where it refuses for one of the ``passing`` reasons."""
        given: dict[str, Any] = {"params": wanted} if method == "GET" else {"json": wanted}
        answer = self._request(method, f"{_API}/{what}", **given)
        if answer.is_error and _code(answer) in passing:
            return None
        return self._json(self._accepted(answer))

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        return self._accepted(self._request(method, path, **given))

    def _request(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            with self._connect() as client:
                return client.request(method, path, **given)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise ModelRegistryError(
                f"{answer.request.url}: answers no JSON object, so it is no MLflow server. "
                "Cure: correct model.registry_url"
            )
        return said

    def _accepted(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_error:
            return answer
        cure = (
            "set model.registry_token, or model.registry_username and model.registry_password"
            if answer.status_code in {401, 403}
            else "see the server's log"
        )
        raise ModelRegistryError(
            f"{answer.request.url.path}: the MLflow server says {answer.status_code} "
            f"{answer.text[:300]}. Cure: {cure}"
        )

    def _unreachable(self, error: httpx.HTTPError) -> ModelRegistryError:
        return ModelRegistryError(
            f"no answer of the MLflow server at {self._url}: {error or type(error).__name__}. "
            "Cure: check model.registry_url, and that the server runs"
        )


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("error_code", ""))
    except (ValueError, AttributeError):
        return ""


def _path_of(uri: str) -> str:
    """The path of an ``mlflow-artifacts:`` address, which the tracking server itself serves."""
    parts = urlsplit(uri)
    if parts.scheme != "mlflow-artifacts":
        raise ModelRegistryError(
            f"{uri}: this artifact is not served by the MLflow server. Cure: start it with --artifacts-destination "
            "(the default of `mlflow server`), and register the model again"
        )
    return parts.path.strip("/")
