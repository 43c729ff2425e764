"""Sign-ins of other kinds: built-in services, local servers, machines, grants of older programs."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from tests.mcp.auth.desk import SERVER, Browser, House, caller, house_at

from patina.mcp.auth.builtin import SERVICES
from patina.mcp.auth.failing import SIGN_IN, SignInFault
from patina.mcp.auth.modes import mode
from patina.mcp.auth.shapes import AuthServer, Challenge, Client, Grant, Tokens
from patina.model.settings import AuthMode, OAuthSettings, ServerSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path) as house:
        yield house


def github(house: House, **more: str) -> ServerSettings:
    """A local server whose user signs in with GitHub, or what has its places."""
    url = house.server.url
    return ServerSettings(
        command="github-mcp-server",
        oauth=replace(
            OAuthSettings(
                provider="github",
                client_id="Iv1.mine",
                client_secret="secret:github/client",
                authorization_endpoint=f"{url}/login/oauth/authorize",
                token_endpoint=f"{url}/login/oauth/access_token",
                variable="GITHUB_TOKEN",
            ),
            **more,
        ),
    )


async def test_github_signs_in_to_a_local_server(house: House) -> None:
    settings = github(house)
    desk = house.desk()
    house.server.add_client("Iv1.mine", "hidden")
    desk.vault.set("github/client", "hidden")
    assert (await desk.sign_ins.state(SERVER, settings)).provider == "GitHub"
    with pytest.raises(SignInFault) as fault:
        await desk.sign_ins.variables(SERVER, settings)
    assert fault.value.failure.code == SIGN_IN
    assert fault.value.failure.message == f"Server {SERVER} wants you to sign in."
    browser = Browser()
    end = await desk.sign_ins.sign_in(SERVER, settings, browser)
    assert (end.state, end.provider, end.account) == ("connected", "GitHub", "@acoliver")
    assert "scope=repo,read:org" in browser.pages[0].url
    first = await desk.sign_ins.variables(SERVER, settings)
    assert first["GITHUB_TOKEN"] in house.server.access
    house.clock.advance(3600)
    second = await house.desk().sign_ins.variables(SERVER, settings)
    assert second["GITHUB_TOKEN"] != first["GITHUB_TOKEN"]
    assert house.server.counts["prompts"] == 1
    assert desk.sign_ins.authority(SERVER, settings) is None


async def test_a_changed_secret_of_the_client_is_used_at_once(house: House) -> None:  # M-24
    settings = github(house)
    desk = house.desk()
    house.server.add_client("Iv1.mine", "hidden")
    desk.vault.set("github/client", "hidden")
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    house.server.add_client("Iv1.mine", "hidden anew")
    desk.vault.set("github/client", "hidden anew")
    house.clock.advance(3600)
    assert await desk.sign_ins.variables(SERVER, settings)


def test_services_are_as_documented() -> None:
    one, other = SERVICES["github"], SERVICES["google"]
    assert one.server.authorization_endpoint == "https://github.com/login/oauth/authorize"
    assert one.server.token_endpoint == "https://github.com/login/oauth/access_token"
    assert one.scope == "repo,read:org"
    place = other.server.authorization_endpoint
    assert place.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert "access_type=offline" in place
    assert other.server.token_endpoint == "https://oauth2.googleapis.com/token"
    assert other.scope == "https://www.googleapis.com/auth/calendar"


async def test_a_service_needs_a_client_of_the_users_own(house: House) -> None:
    settings = ServerSettings(
        command="x", oauth=OAuthSettings(provider="google", variable="GOOGLE_TOKEN")
    )
    end = await house.desk().sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step, end.provider) == ("error", "registration", "Google")
    assert "oauth.client_id" in end.hint
    unknown = replace(settings, oauth=replace(settings.oauth, provider="aol"))
    end = await house.desk().sign_ins.sign_in(SERVER, unknown, Browser())
    assert (end.state, end.step) == ("error", "discovery")


def machine(house: House, **more: str) -> ServerSettings:
    return ServerSettings(
        transport="streamable-http",
        url=house.server.mcp,
        auth_mode="client_credentials",
        oauth=replace(OAuthSettings(client_id="robot"), **more),
    )


async def test_a_machine_needs_nobody(house: House) -> None:
    settings = machine(house, client_secret="secret:robot")
    desk = house.desk()
    house.server.add_client("robot", "hidden")
    desk.vault.set("robot", "hidden")
    async with caller(desk, settings) as client:
        assert await client.call() == 200
        assert client.sent == 1
        house.clock.advance(3600)
        assert await client.call() == 200
        house.server.end_access()
        assert await client.call() == 200
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
    assert house.server.counts["machines"] == 3
    assert house.server.counts["prompts"] == 0
    assert (await desk.sign_ins.state(SERVER, settings)).state == "connected"


async def test_a_machine_may_show_who_it_is_with_a_key(house: House) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    settings = machine(house, private_key="secret:robot")
    desk = house.desk()
    house.server.add_client("robot", "never told")
    desk.vault.set("robot", key.decode())
    async with caller(desk, settings) as client:
        assert await client.call() == 200


async def test_a_machine_with_wrong_credentials_says_so(house: House) -> None:
    settings = machine(house, client_secret="secret:robot")
    desk = house.desk()
    desk.vault.set("robot", "wrong")
    async with caller(desk, settings) as client:
        with pytest.raises(SignInFault) as fault:
            await client.call()
        assert fault.value.final
        assert fault.value.error == "invalid_client"
        assert not client.authority.wanted
        asked = house.server.log.count("POST /token")
        with pytest.raises(SignInFault):
            await client.call()
        assert house.server.log.count("POST /token") == asked  # not on and on
    missing = machine(house, client_secret="secret:nothing-there")
    async with caller(house.desk(), missing) as client:
        with pytest.raises(SignInFault, match="nothing under secret:nothing-there"):
            await client.call()


async def test_a_machine_may_show_a_statement_of_another(house: House) -> None:
    settings = machine(house, assertion="secret:workload")
    desk = house.desk()
    house.server.add_client("robot")
    desk.vault.set("workload", "signed.by.somebody")
    async with caller(desk, settings) as client:
        assert await client.call() == 200
    assert house.server.statements == ["signed.by.somebody"]


async def test_an_employer_vouches_for_who_is_signed_in_there(house: House) -> None:
    settings = machine(
        house,
        assertion="secret:id-token",
        exchange_endpoint=f"{house.server.url}/employer",
        exchange_client_id="patina-at-work",
    )
    desk = house.desk()
    house.server.add_client("robot")
    desk.vault.set("id-token", "id.of.ada")
    async with caller(desk, settings) as client:
        assert await client.call() == 200
    assert house.server.statements == ["grant-for-id.of.ada"]


async def test_a_grant_of_an_older_program_is_completed(house: House) -> None:
    settings = github(house)
    desk = house.desk()
    house.server.add_client("Iv1.mine", "hidden")
    desk.vault.set("github/client", "hidden")
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    record = desk.grants.read(SERVER)
    assert record is not None
    tokens = msgspec.json.decode(record, type=Grant).tokens
    bare = Grant(
        url="",
        server=AuthServer(issuer=""),
        client=Client(client_id=""),
        tokens=Tokens(access=tokens.access, refresh=tokens.refresh, expires_at=tokens.expires_at),
    )
    desk.grants.write(SERVER, msgspec.json.encode(bare))
    later = house.desk()
    assert (await later.sign_ins.state(SERVER, settings)).state == "connected"
    assert await later.sign_ins.variables(SERVER, settings) == {"GITHUB_TOKEN": tokens.access}
    house.clock.advance(3600)
    assert await later.sign_ins.variables(SERVER, settings) != {"GITHUB_TOKEN": tokens.access}
    house.clock.advance(3600)
    assert await house.desk().sign_ins.variables(SERVER, settings)
    assert house.server.counts["prompts"] == 1
    assert house.server.counts["reuses"] == 0


def remote(**given: object) -> ServerSettings:
    bare = ServerSettings(transport="streamable-http", url="https://x.example/mcp")
    return replace(bare, **given)


@pytest.mark.parametrize(
    ("settings", "seen", "expected"),
    [
        (remote(), None, "none"),
        (remote(), Challenge(scheme="Bearer"), "client"),
        (remote(), Challenge(scheme="DPoP"), "client"),
        (remote(), Challenge(scheme=""), "client"),
        (remote(), Challenge(scheme="Basic"), "none"),
        (remote(), Challenge(status=403), "none"),
        (remote(), Challenge(status=403, error="insufficient_scope"), "client"),
        (
            remote(headers={"authorization": "Bearer secret:x"}),
            Challenge(scheme="Bearer"),
            "bearer",
        ),
        (remote(headers={"X-Api-Key": "plain"}), Challenge(scheme="Bearer"), "bearer"),
        (remote(headers={"X-Team": "secret:team"}), None, "bearer"),
        (remote(headers={"X-Team": "blue"}), Challenge(scheme="Bearer"), "client"),
        (remote(oauth=OAuthSettings(client_id="me")), None, "client"),
        (remote(auth_mode="none"), Challenge(scheme="Bearer"), "none"),
        (remote(auth_mode="server"), Challenge(scheme="Bearer"), "server"),
        (remote(auth_mode="client", headers={"Authorization": "x"}), None, "client"),
        (remote(auth_mode="client_credentials"), None, "client_credentials"),
        (ServerSettings(command="x"), None, "none"),
        (ServerSettings(command="x", env={"TOKEN": "secret:x"}), None, "bearer"),
        (ServerSettings(command="x", oauth=OAuthSettings(variable="TOKEN")), None, "client"),
    ],
)
def test_the_mode_is_found_out(  # P-05
    settings: ServerSettings, seen: Challenge | None, expected: AuthMode
) -> None:
    assert mode(settings, seen) == expected


async def test_only_what_signs_in_has_an_authority(house: House) -> None:  # P-05, P-08
    sign_ins = house.desk().sign_ins
    assert sign_ins.authority(SERVER, remote()) is not None
    assert sign_ins.authority(SERVER, remote(auth_mode="none")) is None
    assert sign_ins.authority(SERVER, remote(auth_mode="server")) is None
    assert sign_ins.authority(SERVER, remote(headers={"Authorization": "env:X"})) is None
    assert await sign_ins.variables(SERVER, ServerSettings(command="x")) == {}
    end = await sign_ins.sign_in(SERVER, remote(auth_mode="none"), Browser())
    assert (end.state, end.step) == ("error", "discovery")
