"""The Open Inference Protocol over gRPC. Needs the extra ``grpc``.

The two messages it takes are written and read here (field numbers of ``grpc_predict_v2.proto``); tensors travel raw, in
the byte order of both machines.
"""

from __future__ import annotations

import struct
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.onnx_runtime import INPUT, OUTPUT
from stream_infer.models.protobuf import delimited, fields, message, read_varints, varint
from stream_infer.models.remote.asking import Refused, Unanswered

__all__ = ["OpenInferenceGrpc"]

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_MESSAGE_BYTES_MAX = 64 << 20
_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# Field numbers of grpc_predict_v2.proto.
_MODEL_NAME, _MODEL_VERSION, _INPUTS, _REQUESTED, _RAW_INPUTS = 1, 2, 5, 6, 7
_OUTPUTS, _RAW_OUTPUTS = 5, 6
_TENSOR_NAME, _TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENTS = 1, 2, 3, 5
_CONTENTS_FP32 = 6

_OF_THE_WINDOWS = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "INTERNAL", "UNKNOWN"}


class OpenInferenceGrpc:
    """``ModelInfer`` at ``url`` (grpc://HOST:PORT, or grpcs:// with TLS). Threads may share it."""

    def __init__(self, url: str, name: str, version: str | None, token: str | None) -> None:
        try:
            import grpc  # noqa: PLC0415 - an extra
        except ImportError:
            raise ModelError(
                f"model.server_url = {url}: the package grpcio is not installed; run: pip install "
                "'stream-infer[grpc]', or name the server's HTTP port with http://"
            ) from None
        parts = urlsplit(url)
        if parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, _OPTIONS)
        self._infer = self._channel.unary_unary(_METHOD)
        self._failed: type[Exception] = grpc.RpcError
        self._login = None if token is None else (("authorization", f"Bearer {token}"),)
        self._head = delimited(_MODEL_NAME, name.encode())
        if version:
            self._head += delimited(_MODEL_VERSION, version.encode())

    def ask(self, windows: NDArray[np.float32], timeout_s: float) -> NDArray[np.float32]:
        """One call."""
        try:
            said = self._infer(self._head + _request(windows), timeout=timeout_s, metadata=self._login)
        except self._failed as error:
            code, details = error.code().name, error.details() or ""  # type: ignore[attr-defined]
            told = f"ModelInfer answers {code} {details[:300]}"
            raise (Refused if code in _OF_THE_WINDOWS else Unanswered)(told) from None
        try:
            return _errors_of(memoryview(said))
        except ValueError as error:
            raise Unanswered(f"ModelInfer answers what cannot be read: {error}") from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _request(windows: NDArray[np.float32]) -> bytes:
    """What follows the model's name in a ModelInferRequest."""
    shape = b"".join(varint(size) for size in windows.shape)
    tensor = (
        delimited(_TENSOR_NAME, INPUT.encode())
        + delimited(_TENSOR_TYPE, b"FP32")
        + delimited(_TENSOR_SHAPE, shape)
    )
    wanted = delimited(_REQUESTED, delimited(_TENSOR_NAME, OUTPUT.encode()))
    return delimited(_INPUTS, tensor) + wanted + delimited(_RAW_INPUTS, windows.tobytes())


def _errors_of(said: memoryview) -> NDArray[np.float32]:
    """The output ``errors`` of a ModelInferResponse, raw or as typed numbers. Raises ValueError without one."""
    outputs, raw = [], []
    for number, value in fields(said):
        if number == _OUTPUTS:
            outputs.append(message(value))
        elif number == _RAW_OUTPUTS:
            raw.append(message(value))
    for index, output in enumerate(outputs):
        name, kind, shape, typed = _tensor(output)
        if name == OUTPUT.encode():
            if kind != b"FP32":
                raise ValueError(f"{OUTPUT} is {kind.decode(errors='replace')[:20]}, not FP32")
            content = raw[index] if index < len(raw) else typed
            return np.frombuffer(content, np.float32).reshape(shape)
    raise ValueError(f"there is no output {OUTPUT}")


def _tensor(output: memoryview) -> tuple[bytes, bytes, list[int], bytes]:
    """Name, type, shape, and the numbers where they stand inside."""
    texts, shape, typed = {_TENSOR_NAME: b"", _TENSOR_TYPE: b""}, [], b""
    for number, value in fields(output):
        if number in texts:
            texts[number] = bytes(message(value))
        elif number == _TENSOR_SHAPE:
            shape += [value] if isinstance(value, int) else read_varints(value)
        elif number == _TENSOR_CONTENTS:
            typed = b"".join(
                bytes(inner) if isinstance(inner, memoryview) else struct.pack("<f", inner)
                for kind, inner in fields(message(value))
                if kind == _CONTENTS_FP32
            )
    return texts[_TENSOR_NAME], texts[_TENSOR_TYPE], shape, typed
