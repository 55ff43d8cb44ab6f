"""Which database holds the metadata of a pipeline: a file in its folder says so.

Commands that take no configuration, such as `clean`, read it there. The id in it tells this folder
from another one of the same path, on another machine.

This module uses only the standard library and Python 3.8 syntax, since the doctor uses it too.
"""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import dataclass

from components.disk import write_whole
from components.files import check_regular
from pipeline.database.address import FORM, Address, AddressError, parse
from pipeline.errors import OutputError, StoreError
from pipeline.locations import Locations

# Nobody writes as much.
_MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Binding:
    """The database of a pipeline.

    Attributes:
      address: Address of the database.
      root_id: Id of the folder of the pipeline.
      host: Name of the machine that chose the database; None where an earlier project did.
    """

    address: Address
    root_id: str
    host: str | None


def read(locations: Locations) -> Binding | None:
    """The database of a pipeline; None where a file holds its metadata.

    Raises:
      StoreError: If the file that names it cannot be read.
    """
    path = locations.database
    try:
        check_regular(path)
        with path.open(encoding="utf-8") as file:
            document = json.loads(file.read(_MOST_CHARACTERS))
        root_id = str(uuid.UUID(str(document["root_id"])))
        host = str(document["host"]) if "host" in document else None
        return Binding(parse(str(document["uri"])), root_id, host)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, AddressError, ValueError, RecursionError, TypeError, KeyError) as error:
        why = getattr(error, "strerror", None) or "it does not name a database"
        raise StoreError(
            f"{path} cannot be read ({why}); expected the database of the pipeline, as "
            f'{{"uri": "{FORM}", "root_id": ID}}. Put the file back from a copy.'
        ) from error


def check(locations: Locations, address: Address | None) -> None:
    """Refuses a run whose configuration names another place for the metadata than earlier runs.

    Without the lock of the database, two machines could push at the same time.

    Args:
      locations: Places of the pipeline.
      address: Database that the configuration names; None for a file.

    Raises:
      StoreError: If earlier runs used another database, or the file that names it cannot be read.
    """
    bound = read(locations)
    if bound is None or bound.address == address:
        return
    asked = "a file" if address is None else f"the {address.shown}"
    raise StoreError(
        f"the metadata of {locations.root} is in the {bound.address.shown}, and the configuration "
        f"asks for {asked}; expected the same place. Fix: --set metadata.uri={bound.address.uri}. "
        f"To move to another place, end all runs, then move {locations.database} away: the next "
        "run begins with an empty cache."
    )


def write(locations: Locations, address: Address) -> Binding:
    """Notes the database of a pipeline; the folder gets an id.

    Raises:
      OutputError: If the file cannot be written.
    """
    binding = Binding(address, str(uuid.uuid4()), socket.gethostname())
    document = {"uri": address.uri, "root_id": binding.root_id, "host": binding.host}
    try:
        write_whole(locations.database, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise OutputError(
            f"{locations.database} cannot be written ({error.strerror}); expected room and write "
            f"permission in {locations.root}. Fix that, or choose another --output-dir."
        ) from error
    return binding
