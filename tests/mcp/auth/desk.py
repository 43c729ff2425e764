"""What the tests of the desk stand on: its parts over real files, people, and requests."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx2
from msgspec.structs import replace
from tests.mcp.auth.authorization_server import AuthorizationServer, serving

from patina.config.files import try_lock, update_file
from patina.engine.clock import ManualClock
from patina.mcp.auth.sign_ins import SignIns
from patina.mcp.transports.authority import Authority
from patina.mcp.transports.remote import Network
from patina.model.pages import Page
from patina.model.settings import OAuthSettings, ServerSettings
from patina.model.sign_in import SignIn
from patina.ports.grants import Grants
from patina.secrets.environment import Resolver
from patina.secrets.grants import VaultGrants
from patina.secrets.vault import Vault, key_file_vault

SERVER = "notes"


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds. Bounded by its caller."""
    while not condition():
        await anyio.lowlevel.checkpoint()


def vault_in(folder: Path) -> Vault:
    return key_file_vault(folder / "secrets.enc", folder / "key", update_file)


class Desk:
    """One Patina: a `SignIns` over what is in `folder`. `told` is what it told of.

    `instead` makes other grants of its own ones.
    """

    def __init__(
        self,
        folder: Path,
        clock: ManualClock,
        instead: "Callable[[Desk], Grants] | None" = None,
    ) -> None:
        self.vault = vault_in(folder)
        self.grants = VaultGrants(self.vault, folder / "locks", try_lock)
        self.told: list[SignIn] = []
        self.secrets: list[str] = []
        self.clock = clock
        keys = Resolver({}, self.vault, self.secrets.append)
        grants = instead(self) if instead else self.grants
        self.sign_ins = SignIns(grants, keys, clock, Network(), self.told.append)

    @property
    def states(self) -> list[str]:
        found: list[str] = []
        for one in self.told:
            if not found or found[-1] != one.state:
                found.append(one.state)
        return found

    @property
    def steps(self) -> list[str]:
        found: list[str] = []
        for one in self.told:
            if one.state == "authorizing" and (not found or found[-1] != one.step):
                found.append(one.step)
        return found


class Browser:
    """A person who agrees to everything, and has a browser on this machine."""

    def __init__(self, *, agrees: bool = True) -> None:
        self.agrees = agrees
        self.pages: list[Page] = []
        self.came = anyio.Event()

    async def visit(self, page: Page) -> bool:
        self.pages.append(page)
        self.came.set()
        if not self.agrees:
            return False
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
            await browser.get(page.url)
        return True

    async def pasted(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError


class Hands:
    """A person elsewhere: the browser cannot come back, so that its address is pasted."""

    def __init__(self, *wrong: str) -> None:
        self.wrong = list(wrong)
        self.address = ""
        self.came = anyio.Event()

    async def visit(self, page: Page) -> bool:
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(page.url)
        self.address = answer.headers["location"]
        self.came.set()
        return True

    async def pasted(self) -> str:
        await self.came.wait()
        return self.wrong.pop(0) if self.wrong else self.address


class Nobody:
    """A person who opens the page, and does nothing there."""

    def __init__(self) -> None:
        self.came = anyio.Event()
        self.pages: list[Page] = []

    async def visit(self, page: Page) -> bool:
        self.pages.append(page)
        self.came.set()
        return True

    async def pasted(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError


class House:
    """An authorization server with what it protects, and the folder of the Patinas beside it."""

    def __init__(self, server: AuthorizationServer, folder: Path, clock: ManualClock) -> None:
        self.server = server
        self.folder = folder
        self.clock = clock

    def desk(self) -> Desk:
        """Start Patina: it knows nothing but what is on the disk."""
        return Desk(self.folder, self.clock)

    def settings(self, **oauth: object) -> ServerSettings:
        asked = replace(OAuthSettings(), **oauth)
        return ServerSettings(transport="streamable-http", url=self.server.mcp, oauth=asked)

    async def signed_in(self, settings: ServerSettings | None = None) -> Desk:
        desk = self.desk()
        end = await desk.sign_ins.sign_in(SERVER, settings or self.settings(), Browser())
        assert end.state == "connected", end
        return desk


@asynccontextmanager
async def house_at(folder: Path) -> AsyncIterator[House]:
    clock = ManualClock()
    async with serving(clock.monotonic) as server:
        yield House(server, folder, clock)


class Caller:
    """Sends requests to a protected server, as the transports do."""

    def __init__(self, authority: Authority, url: str) -> None:
        self.authority = authority
        self.url = url
        self.sent = 0

    async def __aenter__(self) -> "Caller":
        self.http = httpx2.AsyncClient(trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def call(self) -> int:
        """Call the tool; return the status of the last answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}
        for attempt in (1, 2, 3):
            added: Mapping[str, str] = await self.authority.headers("POST", self.url)
            self.sent += 1
            answer = await self.http.post(self.url, json=body, headers=dict(added))
            refused = answer.status_code in (401, 403)
            if not refused and "dpop-nonce" not in answer.headers:
                break
            lower = {name.lower(): value for name, value in answer.headers.items()}
            if not await self.authority.heard(answer.status_code, lower, added, attempt):
                break
        return answer.status_code


def caller(desk: Desk, settings: ServerSettings) -> Caller:
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    return Caller(authority, settings.url)
