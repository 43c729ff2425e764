"""How to reach the network, as the environment says."""

from msgspec import Struct

from patina.config.environment import Environment


class Network(Struct, frozen=True):
    """Proxies as URLs ("" is none), hosts that need none, and a file of trusted certificates.

    The names are those that curl and most other programs read. `no_proxy` holds host names, which
    include their sub-domains, addresses, and "*" for every host.
    """

    http_proxy: str = ""
    https_proxy: str = ""
    all_proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ca_file: str = ""


def read_network(environment: Environment) -> Network:
    """Return the network settings; of two spellings the one in small letters wins.

    The working directory's `.env` has no say: a proxy together with a certificate authority
    would let a foreign folder read every request.
    """

    def proxy(name: str) -> str:
        value = environment.trusted(name) or environment.trusted(name.upper())
        return value if not value or "://" in value else f"http://{value}"

    hosts = environment.trusted("no_proxy") or environment.trusted("NO_PROXY")
    return Network(
        http_proxy=proxy("http_proxy"),
        https_proxy=proxy("https_proxy"),
        all_proxy=proxy("all_proxy"),
        no_proxy=tuple(host for part in hosts.split(",") if (host := part.strip())),
        ca_file=environment.trusted("SSL_CERT_FILE"),
    )
