"""The program of the sandbox: ``python -m stream_infer.build.sandbox FD``, started by a worker only."""

from __future__ import annotations

import pickle
import sys
from multiprocessing.connection import Connection

from stream_infer.avro.decoder import Decoder
from stream_infer.build.events import fields_of, schemas_of
from stream_infer.build.model import model_of
from stream_infer.config import Config
from stream_infer.confine import confine
from stream_infer.log import configure
from stream_infer.models.model import warm_up_model
from stream_infer.quarantine.trial import Trial
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable

__all__ = ["COMMAND", "main"]

COMMAND = (sys.executable, "-m", "stream_infer.build.sandbox")


def main() -> None:
    """Build the stages of the settings that come first over the connection, then try what comes after them."""
    confine()
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


if __name__ == "__main__":
    main()
