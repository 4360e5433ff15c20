"""Compile the Java beside this file and become it.

    python -m load.peers.kafka_streams SERVERS TOPIC GROUP MODEL SCHEMA

Jars are fetched once and pinned as those of the embedded Kafka are.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from stream_infer.cache import cache_dir
from stream_infer.embedded.jars import Coordinates, fetch, verify
from stream_infer.errors import BrokerError

_HERE = Path(__file__).parent
_JVM = ("-Xms256m", "-Xmx1g", "-XX:+UseParallelGC")


def class_path() -> list[Path]:
    """The jars, fetched if need be, each equal to its pin. Raises BrokerError where one cannot be had."""
    rows = (line.split() for line in (_HERE / "jars.sha256").read_text().splitlines() if line[0] != "#")
    pins = {Coordinates(*name.split(":")): digest for digest, name in rows}
    home = cache_dir() / "load-kafka-streams"
    missing = {item: digest for item, digest in pins.items() if not (home / item.file_name).exists()}
    if missing:
        fetch(missing, home, BrokerError, print)
    verify(home, {item.file_name: digest for item, digest in pins.items()}, BrokerError)
    return [home / item.file_name for item in pins]


def write_profiles(model: Path, path: Path) -> None:
    """What training learned, as Detector.java reads it: texts as writeUTF writes them, numbers big-endian."""
    manifest = json.loads((model / "manifest.json").read_text())
    terms, features = manifest["terms"], manifest["features"]
    with np.load(model / "profiles.npz") as profiles:
        ends = profiles["name_ends"].tolist()
        text = profiles["names"].tobytes()
        names = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        known = {name: profiles[name][: len(names)] for name in _ARRAYS}
    texts = [manifest["name"].encode(), manifest["version"].encode()]
    sizes = struct.pack(">iii", manifest["window"], len(features), len(terms))
    numbers = [[term[name] for term in terms] for name in ("smoothing", "clip")]
    content = [
        *map(_utf, texts),
        sizes,
        *(_utf(feature.encode()) for feature in features),
        struct.pack(">i", len(names)),
        *map(_utf, names),
        *(np.asarray(values, ">f8").tobytes() for values in [*numbers, *(known[name] for name in _ARRAYS)]),
    ]
    path.write_bytes(b"".join(content))


_ARRAYS = ("center", "spread", "error_sd", "scale", "threshold")


def _utf(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def main(servers: str, topic: str, group: str, model: str, schema: str) -> None:
    """Compile, and replace this process by the JVM."""
    folder = Path(tempfile.mkdtemp(prefix="kafka-streams-"))
    jars = os.pathsep.join(map(str, class_path()))
    sources = sorted(_HERE.glob("*.java"))
    subprocess.run(["javac", "-cp", jars, "-d", folder, *sources], check=True)
    write_profiles(Path(model), folder / "profiles")
    java = shutil.which("java") or "java"
    arguments = [
        servers,
        topic,
        group,
        folder / "profiles",
        Path(model) / "model.onnx",
        schema,
        folder / "state",
    ]
    os.execv(java, [java, *_JVM, "-cp", f"{folder}{os.pathsep}{jars}", "Main", *map(str, arguments)])


if __name__ == "__main__":
    main(*sys.argv[1:])
