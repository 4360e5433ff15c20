"""What every rival in Python scores with: the same model, windows, smoothing and thresholds, in NumPy.

Needs NumPy, ONNX Runtime and fastavro, nothing of stream_infer, so that it runs in each rival's own environment. It
keeps no state over a restart and takes only entities that training saw.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import numpy as np
import onnxruntime

__all__ = ["Codec", "Detector", "Result"]

_SCHEMAS = Path(__file__).parents[2] / "schemas"
_HEADER = b"\0\0\0\0\1"


class Result(NamedTuple):
    """What is said of one event."""

    score: float
    threshold: float
    is_anomaly: bool
    contributions: list[dict[str, Any]]
    window_full: bool


class Codec:
    """Payloads to events, and results to payloads."""

    def __init__(self, schema: Path, topic: str, model: tuple[str, str]) -> None:
        self._event = fastavro.parse_schema(json.loads(schema.read_text()))
        self._scored = fastavro.parse_schema(json.loads((_SCHEMAS / "scored_event.avsc").read_text()))
        self._constant = {
            "alert": "none",
            "time_order": "in_order",
            "model_name": model[0],
            "model_version": model[1],
            "source_topic": topic,
        }

    def decode(self, payload: bytes) -> dict[str, Any]:
        """An event; the five bytes of the wire format are passed over."""
        event: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(payload[5:]), self._event, None)
        return event

    def encode(self, event: dict[str, Any], result: Result, partition: int, offset: int) -> bytes:
        """A scored event."""
        body = io.BytesIO()
        body.write(_HEADER)
        scored = {
            **self._constant,
            "event_id": event["event_id"],
            "entity": event["entity_id"],
            "time": event["ts"],
            "score": result.score,
            "threshold": result.threshold,
            "is_anomaly": result.is_anomaly,
            "contributions": result.contributions,
            "window_full": result.window_full,
            "source_partition": partition,
            "source_offset": offset,
        }
        fastavro.schemaless_writer(body, self._scored, scored)
        return body.getvalue()


class Detector:
    """Windows, smoothing and thresholds per entity. ``model`` is the folder of an artifact."""

    def __init__(self, model: Path) -> None:
        manifest = json.loads((model / "manifest.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model / "model.onnx", options)
        self.identity = manifest["name"], manifest["version"]
        self.features: list[str] = manifest["features"]
        with np.load(model / "profiles.npz") as profiles:
            ends = profiles["name_ends"].tolist()
            text = profiles["names"].tobytes().decode()
            names = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            self.index = {name: number for number, name in enumerate(names)}
            self.center, self.spread = profiles["center"], profiles["spread"]
            self.error_sd, self.scale = profiles["error_sd"], profiles["scale"]
            self.threshold = profiles["threshold"].tolist()
        terms = manifest["terms"]
        width = len(self.features)
        self.windows = np.zeros((len(names), manifest["window"], width), np.float32)
        self.seen = [0] * len(names)
        self.smoothed = np.zeros((len(names), len(terms), width))
        self.smoothing = np.array([term["smoothing"] for term in terms])[:, None]
        self.clip = np.array([term["clip"] for term in terms])[:, None]

    def score(self, events: Sequence[dict[str, Any]]) -> list[Result]:
        """Score some events, in order."""
        entity = np.array([self.index[event["entity_id"]] for event in events])
        rows = np.array([self._row(event) for event in events])
        spread = 5 * self.spread[entity]
        standard = (5 * np.arcsinh((rows - self.center[entity]) / spread)).astype(np.float32)
        windows = np.empty((len(events), *self.windows.shape[1:]), np.float32)
        seen = []
        for i, e in enumerate(entity.tolist()):
            own = self.windows[e]
            if self.seen[e] == 0:
                own[:] = standard[i]
            else:
                own[:-1] = own[1:]
                own[-1] = standard[i]
            self.seen[e] += 1
            seen.append(self.seen[e])
            windows[i] = own
        found = self.session.run(("errors",), {"windows": windows})[0] / self.error_sd[entity]
        errors = np.minimum(np.square(found, dtype=np.float64), self.clip)
        return [self._judged(e, seen[i], errors[i]) for i, e in enumerate(entity.tolist())]

    def _judged(self, e: int, seen: int, errors: np.ndarray) -> Result:
        smoothed = self.smoothed[e]
        if seen == 1:
            smoothed[:] = errors
        else:
            smoothed += self.smoothing * (errors - smoothed)
        parts = smoothed / self.scale[e][:, None]
        score = float(parts.mean(axis=1).sum())
        anomaly = score >= self.threshold[e]
        top = self._top(parts, score) if anomaly else []
        return Result(score, self.threshold[e], anomaly, top, seen >= self.windows.shape[1])

    def _top(self, parts: np.ndarray, score: float) -> list[dict[str, Any]]:
        shares = parts.sum(axis=0) / parts.shape[1] / score
        return [{"feature": self.features[k], "share": float(shares[k])} for k in np.argsort(-shares)[:3]]

    def _row(self, event: dict[str, Any]) -> list[float]:
        if "features" in event:
            row: list[float] = event["features"]
            return row
        flat = {**event, **{f"more.{name}": value for name, value in event.get("more", {}).items()}}
        return [flat[name] for name in self.features]
