"""The grants of sign-ins in memory, over the records that all processes share."""

from datetime import datetime
from typing import Final

import anyio
import msgspec
from anyio.to_thread import run_sync
from msgspec import Struct
from msgspec.structs import replace

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.shapes import Challenge, Grant, Tokens
from patina.mcp.transports.remote import Network
from patina.model.settings import ServerSettings
from patina.ports.clock import Clock
from patina.ports.grants import Grants
from patina.ports.keys import References

# A token is renewed so many seconds before its end, or after three quarters of a short life.
_EARLY: Final = 60.0
# How long what another process may have written can go unseen (seconds).
_LOOK_EVERY: Final = 1.0
# How long a token that was refused although it was new is not renewed again (seconds).
_GIVE_UP: Final = 60.0


class Means(Struct, frozen=True):
    """What signing in needs of the rest of Patina."""

    grants: Grants
    keys: References
    clock: Clock
    network: Network

    def now(self) -> float:
        """Return the seconds since 1970, as the clock shows them."""
        return datetime.fromisoformat(self.clock.now()).timestamp()


class Held:
    """What this process knows of the sign-in to one server.

    `lock` is held while its tokens are renewed. `refusal` is what the server last refused with,
    `nonce` what it wants to find in proofs (RFC 9449 section 9). Until `trouble_until`
    (`Clock.monotonic`) a renewal that did not go well is not tried again while the old token
    serves, nor what a machine asked for and what `failed` for good. `troubles` counts the renewals
    that failed, the last one with `trouble`.
    """

    def __init__(self, server: str, means: Means) -> None:
        self.server = server
        self.means = means
        self.lock = anyio.Lock()
        self.refusal: Challenge | None = None
        self.nonce = ""
        self.trouble_until = 0.0
        self.failed: SignInFault | None = None
        self.trouble: SignInFault | None = None
        self.troubles = 0
        self._hopeless = ("", 0.0)
        self._record: bytes | None = None
        self._grant: Grant | None = None
        self._looked: float | None = None

    def give_up(self, token: str) -> None:
        """Remember that the server refuses `token`, just renewed: no other would help now."""
        self._hopeless = (token, self.means.clock.monotonic() + _GIVE_UP)

    def is_refused(self, token: str) -> bool:
        """Whether `token` was the last that no renewal helped."""
        return bool(token) and token == self._hopeless[0]

    def settled(self) -> None:
        """Forget what the server refused: somebody signed in."""
        self.refusal, self.failed = None, None
        self._hopeless, self.trouble_until = ("", 0.0), 0.0

    def is_hopeless(self, token: str) -> bool:
        """Whether renewing `token` was no help a short while ago."""
        known, until = self._hopeless
        return known == token and self.means.clock.monotonic() < until

    @property
    def has_record(self) -> bool:
        """Whether there was a record at the last look, readable or not."""
        return self._record is not None

    def last(self, settings: ServerSettings) -> Grant | None:
        """Return what `grant` did, or would have done, at the last look."""
        grant = self._grant
        return grant if grant is not None and fits(grant, settings) else None

    async def grant(self, settings: ServerSettings, *, anew: bool = False) -> Grant | None:
        """Return the grant for a server with these settings, None where there is none for them.

        `anew`: as it is on the disk now. Raises `ConfigFault`.
        """
        await self.kept(anew=anew)
        return self.last(settings)

    async def kept(self, *, anew: bool = False) -> Grant | None:
        """Return the grant, whatever the server's settings are now. Raises `ConfigFault`."""
        now = self.means.clock.monotonic()
        if anew or self._looked is None or now - self._looked >= _LOOK_EVERY:
            record = await run_sync(self.means.grants.read, self.server)
            self._looked = now
            if record != self._record:
                self._record, self._grant = record, _grant_of(record)
        return self._grant

    async def keep(self, grant: Grant | None) -> None:
        """Replace the grant. On disk when it returns.

        Raises `ConfigFault`; for this process it is replaced even then.
        """
        record = None if grant is None else msgspec.json.encode(grant)
        secrets = () if grant is None else _secrets(grant)
        self._grant = grant
        await run_sync(self.means.grants.write, self.server, record, secrets)
        self._record = record


def _grant_of(record: bytes | None) -> Grant | None:
    """Return a record as a grant; one that cannot be understood is none: a person signs in anew."""
    if record is None:
        return None
    try:
        return msgspec.json.decode(record, type=Grant)
    except msgspec.DecodeError:
        return None


def _secrets(grant: Grant) -> tuple[str, ...]:
    tokens, client = grant.tokens, grant.client
    found = (
        tokens.access,
        tokens.refresh,
        tokens.id_token,
        client.secret,
        client.registration_token,
        grant.key,
    )
    return tuple(secret for secret in found if secret)


def fits(grant: Grant, settings: ServerSettings) -> bool:
    """Whether a grant is for a server with these settings.

    It is not once the address, the issuer to be trusted or the client's name were changed.
    """
    oauth = settings.oauth
    return (
        grant.url == settings.url
        and (not oauth.issuer or grant.server.issuer.rstrip("/") in ("", oauth.issuer.rstrip("/")))
        and (not oauth.client_id or grant.client.client_id in ("", oauth.client_id))
    )


def alive(grant: Grant, now: float) -> bool:
    """Whether the access token still serves, by the clock."""
    tokens = grant.tokens
    return bool(tokens.access) and (tokens.expires_at is None or now < tokens.expires_at)


def due(grant: Grant, now: float) -> bool:
    """Whether the access token is to be renewed now."""
    tokens = grant.tokens
    if not tokens.access or tokens.expires_at is None:
        return not tokens.access
    life = tokens.expires_at - grant.given_at if grant.given_at else 4 * _EARLY
    return now >= tokens.expires_at - min(_EARLY, life / 4)


def serves(grant: Grant | None, now: float) -> bool:
    """Whether somebody is signed in by a grant: it is alive, or may be renewed."""
    return grant is not None and (alive(grant, now) or bool(grant.tokens.refresh))


def spent(grant: Grant, *, access: str = "") -> Grant:
    """Return a grant that cannot be renewed any more; its client and its server stay known."""
    ends = grant.tokens.expires_at if access else None
    left = Tokens(access=access, kind=grant.tokens.kind, expires_at=ends, scope=grant.tokens.scope)
    return replace(grant, tokens=left)
