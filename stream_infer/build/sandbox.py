"""The program of the sandbox: ``python -m stream_infer.build.sandbox FD``, started by a worker only."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import resource
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from stream_infer.avro.decoder import Decoder
from stream_infer.build.events import fields_of, schemas_of
from stream_infer.build.model import model_of
from stream_infer.config import Config
from stream_infer.log import configure
from stream_infer.models.model import warm_up_model
from stream_infer.scorer import Scorer
from stream_infer.trial import Trial
from stream_infer.windows.table import EntityTable

__all__ = ["COMMAND", "main"]

COMMAND = (sys.executable, "-m", "stream_infer.build.sandbox")
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Build the stages of the settings that come first over the connection, then try what comes after them."""
    _confine()
    connection = Connection(int(sys.argv[1]))
    config: Config = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own parent made it
    configure(config.log.format, config.log.level)
    loaded = model_of(config.model)[0].loaded
    decoder = Decoder(schemas_of(config), fields_of(config, loaded.manifest.features))
    table = EntityTable(loaded.layout, loaded.profiles, config.state.idle_ttl_s)
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, table)
    warm_up_model(loaded.model, (1, 256))
    decoder.warm_up()
    scorer.warm_up()
    Trial(connection, decoder, scorer, table).run()


def _confine() -> None:
    """Say where a crash was, leave no core file, be the first to go when memory ends, and never outlive the worker."""
    faulthandler.enable()
    parent = os.getppid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for number in (signal.SIGINT, signal.SIGTERM):  # the worker's to answer; it closes the connection
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
