"""How the client of the conformance suite signs in: with nobody, and without a browser."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2

from patina.model.pages import Page
from patina.model.settings import OAuthSettings, ServerSettings

# The address that the suite wants to see as the client's name where it may be one.
METADATA_URL: Final = "https://conformance-test.local/client-metadata.json"
# Scenarios in which nobody signs in but Patina itself.
BY_ITSELF: Final = (
    "auth/client-credentials-basic",
    "auth/client-credentials-jwt",
    "auth/wif-jwt-bearer",
    "auth/enterprise-managed-authorization",
)
PAGE_SECONDS: Final = 10.0


def settings_for(url: str, scenario: str, context: Mapping[str, Any]) -> ServerSettings:
    """Return how a person would have configured the server of a scenario.

    Values of `context` are the secrets of the same names.
    """
    match scenario:
        case "auth/basic-cimd":
            oauth = OAuthSettings(client_metadata_url=METADATA_URL)
        case "auth/pre-registration":
            oauth = OAuthSettings(
                client_id=context["client_id"],
                client_secret="secret:client_secret",
                issuer=context["issuer"],
            )
        case "auth/client-credentials-basic":
            oauth = OAuthSettings(
                client_id=context["client_id"], client_secret="secret:client_secret"
            )
        case "auth/client-credentials-jwt":
            oauth = OAuthSettings(
                client_id=context["client_id"],
                private_key="secret:private_key_pem",
                signing_algorithm=context["signing_algorithm"],
            )
        case "auth/wif-jwt-bearer":
            oauth = OAuthSettings(client_id=context["client_id"], assertion="secret:valid_jwt")
        case "auth/enterprise-managed-authorization":
            oauth = OAuthSettings(
                client_id=context["client_id"],
                client_secret="secret:client_secret",
                assertion="secret:idp_id_token",
                exchange_endpoint=context["idp_token_endpoint"],
                exchange_client_id=context["idp_client_id"],
            )
        case _:
            oauth = OAuthSettings()
    by_itself = scenario in BY_ITSELF
    return ServerSettings(
        transport="streamable-http",
        url=url,
        auth_mode="client_credentials" if by_itself else "auto",
        oauth=oauth,
    )


class MemoryGrants:
    """Grants of this process, which end with it."""

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._lock = anyio.Lock()

    def read(self, server: str) -> bytes | None:
        return self._records.get(server)

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        if record is None:
            self._records.pop(server, None)
        else:
            self._records[server] = record

    def servers(self) -> tuple[str, ...]:
        return tuple(sorted(self._records))

    @asynccontextmanager
    async def alone(self, server: str) -> AsyncIterator[None]:
        async with self._lock:
            yield


class Robot:
    """Asks for the page, which agrees to everything, and brings the address it sends us to."""

    def __init__(self) -> None:
        self._sent_to = ""
        self._came = anyio.Event()

    async def visit(self, page: Page) -> bool:
        async with httpx2.AsyncClient(
            follow_redirects=False, timeout=PAGE_SECONDS, trust_env=False
        ) as browser:
            answer = await browser.get(page.url)
        if not answer.is_redirect:
            raise SystemExit(f"the page of the sign-in answered {answer.status_code}")
        self._sent_to = answer.headers["location"]
        self._came.set()
        return True

    async def pasted(self) -> str:
        await self._came.wait()
        return self._sent_to
