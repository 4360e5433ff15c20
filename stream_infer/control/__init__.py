"""What an operator sees of a running worker: metrics, health, status, over HTTP."""

from stream_infer.control.metrics import METRICS, Metric, Metrics
from stream_infer.control.server import ControlServer
from stream_infer.control.status import Component, Snapshot, Status

__all__ = ["METRICS", "Component", "ControlServer", "Metric", "Metrics", "Snapshot", "Status"]
