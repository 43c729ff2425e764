"""One configured endpoint: where it is, what it is called, and the key that only it may see."""

from msgspec import Struct

from patina.providers.address import Address, parse_url
from patina.providers.text import words


class KeyHeader(Struct, frozen=True):
    """The header that carries a key. Its representation does not show the key."""

    name: str
    key: str
    scheme: str = ""

    def __repr__(self) -> str:
        return f"KeyHeader({self.name!r})"

    @property
    def value(self) -> str:
        """The header's value."""
        return f"{self.scheme} {self.key}" if self.scheme else self.key


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a provider is reached.

    `provider` is its name in the configuration, `label` what a message calls it. `variable` and
    `secret` name the environment variable and the secret that a key may be put into.
    """

    provider: str
    label: str
    kind: str
    base_url: str
    local: bool = False
    auth: KeyHeader | None = None
    variable: str = ""
    secret: str = ""

    @property
    def address(self) -> Address:
        """The parts of the base URL, which is known to be a good one."""
        return parse_url(self.base_url)

    @property
    def here(self) -> bool:
        """Whether the user can start it: it is local or runs on this machine."""
        return self.local or self.address.loopback

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI itself, and neither Azure nor a stand-in."""
        return self.kind == "openai" and self.address.host.endswith(".openai.com")

    def headers(self, url: str) -> list[tuple[str, str]]:
        """Return the headers that carry the key, if `url` is at this endpoint's own origin."""
        if self.auth is None or parse_url(url).origin != self.address.origin:
            return []
        return [(self.auth.name, self.auth.value)]

    def words(self, text: str) -> str:
        """Return foreign text as one short line without the key."""
        return words(text, (self.auth.key,) if self.auth else ())
