"""What every transport to another machine (or to a port of this one) is given."""

from collections.abc import Mapping

from msgspec import Struct

from patina.mcp.transports.authority import Authority
from patina.mcp.transports.link import Notes


class Network(Struct, frozen=True):
    """How to reach the network: proxies as URLs ("" is none), hosts that need none, and a file
    of trusted certificates ("" is the system's).
    """

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ca_file: str = ""


class Refused(Struct, frozen=True):
    """What to say where a server refuses the `headers` of a `Remote`, and what can be done."""

    words: str = ""
    hint: str = ""


class Remote(Struct, frozen=True):
    """Where a remote server is and what every request to it carries.

    `headers` are resolved: the values of secret ones are among `notes.secrets`. They, and what
    `auth` adds, go to the origin of `url` only. `wait` is the seconds that connecting may take;
    `refused` is for people, where `auth` cannot mend a refusal.
    """

    url: str
    headers: Mapping[str, str]
    notes: Notes
    network: Network = Network()
    auth: Authority | None = None
    wait: float = 10.0
    refused: Refused = Refused()
