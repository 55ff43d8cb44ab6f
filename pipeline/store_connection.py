"""How ML Metadata reaches a store: a file, or a database."""

from __future__ import annotations

import pathlib

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import store_text
from pipeline.database import passwords
from pipeline.database.address import Address

# Where the metadata of a pipeline is.
Place = pathlib.Path | Address


def connection(place: Place) -> mlmd.ConnectionConfig:
    """What ML Metadata needs to connect, without the password: it finds that by itself.

    TFX and ML Metadata write all of this into their logs.

    Args:
      place: SQLite file or database.
    """
    config = mlmd.ConnectionConfig()
    if isinstance(place, pathlib.Path):
        config.sqlite.filename_uri = str(place)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return config
    store_text.install()
    passwords.name_file()
    database = config.postgresql
    database.host, database.port = place.host, str(place.port)
    database.user, database.dbname = place.user, place.database
    # Somebody who may create databases would get a new one for each typing error.
    database.skip_db_creation = True
    # Its client is built without TLS: a PGSSLMODE that is meant for other programs would stop it.
    database.ssloption.sslmode = "disable"
    return config
