"""The file that secrets were in before they were encrypted: it is read once, and moved."""

from pathlib import Path

import msgspec
from msgspec import Struct

from patina.model.faults import ConfigFault
from patina.secrets.private import read_private


class _Envelope(Struct, frozen=True):
    version: int = 1
    secrets: dict[str, str] = {}


def read_legacy(path: Path) -> dict[str, str] | None:
    """Return the secrets of a `secrets.json`, None where there is none. Raises `ConfigFault`."""
    content = read_private(path)
    if content is None:
        return None
    if not content.strip():
        return {}
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
    except ValueError:  # what is no UTF-8 is no MsgspecError
        # The decoder's words could show a piece of a secret.
        raise ConfigFault(
            f"{path} is damaged.",
            hint="Restore it from a backup, or move it away and set the keys again.",
        ) from None
    if envelope.version != 1:
        raise ConfigFault(
            f"{path} has format {envelope.version}, which this Patina does not know.",
            hint="It was written by a newer Patina: update this one.",
        )
    return envelope.secrets
