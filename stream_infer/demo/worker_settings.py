"""The settings file of the demo's worker: written for people to read, too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream_infer.demo.comparing import BLOCK_S, MINIMUM_EVENTS
from stream_infer.demo.records import Topics

__all__ = ["APP_ID", "Surroundings", "worker_settings"]

APP_ID = "demo"

_TEXT = """\
# Worker and shadow of the demo. `stream-infer config example` explains every setting.

[app]
id = {app}

[kafka]
bootstrap_servers = {servers}

[registry]
url = {registry}

[input]
topic = {input}
entity = "entity_id"
time = "ts"
event_id = "event_id"
features = {features}

[output]
scored_topic = {scored}
reject_topic = {rejected}

[state]
topic = {state}

[model]
path = {model}

[shadow]
id = {shadow}
model = {candidate}
comparison_topic = {compared}
state_topic = {shadow_state}
start = "earliest"
port = 0
priority = "low"  # a demo is to end, also on a busy machine
restart_pause_s = 0  # nor does it wait because the demo before was broken off

[compare]
topic = {compared}
verdict_topic = {verdicts}
minimum_events = {minimum_events}
block_s = {block_s}

[control]
port = 0
"""


@dataclass(frozen=True)
class Surroundings:
    """Where the worker finds what it needs."""

    bootstrap_servers: str
    registry_url: str
    topics: Topics
    model: Path
    candidate: Path


def worker_settings(surroundings: Surroundings, features: Sequence[str]) -> str:
    """Return the text of the TOML file of worker and shadow; ``features`` are paths in the event."""
    texts: dict[str, str | int] = {
        "app": APP_ID,
        "servers": surroundings.bootstrap_servers,
        "registry": surroundings.registry_url,
        "input": surroundings.topics.input,
        "scored": surroundings.topics.scored,
        "rejected": surroundings.topics.rejected,
        "state": surroundings.topics.state,
        "model": str(surroundings.model.resolve()),
        "candidate": str(surroundings.candidate.resolve()),
        "compared": surroundings.topics.compared,
        "shadow_state": surroundings.topics.shadow_state,
        "verdicts": surroundings.topics.verdicts,
        "shadow": f"{APP_ID}-shadow",
        "minimum_events": MINIMUM_EVENTS,
        "block_s": BLOCK_S,
    }
    # A JSON text is a TOML text as well.
    quoted = {name: json.dumps(text) for name, text in texts.items()}
    listed = "[\n" + "".join(f"  {json.dumps(path)},\n" for path in features) + "]"
    return _TEXT.format(**quoted, features=listed)
