"""What an outsider found: odd answers, trouble that lasts, addresses that users typed."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from tests.mcp.auth.desk import SERVER, Browser, Desk, House, caller, house_at, until
from tests.mcp.auth.web import PUBLIC, Web, said, web

from patina.mcp.auth.authorization import begin, code_of
from patina.mcp.auth.builtin import SERVICES
from patina.mcp.auth.failing import SIGN_IN, SignInFault
from patina.mcp.auth.finding import find, granted
from patina.mcp.auth.shapes import Answer, AuthServer, Client
from patina.model.faults import ConfigFault
from patina.model.settings import OAuthSettings, ServerSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path) as house:
        yield house


# Who signed in is only a name


@pytest.mark.parametrize("said", [b"[" * 200_000, b'{"login":"\xff"}', b"\xff", b"null"])
async def test_no_answer_about_the_account_ends_a_sign_in(house: House, said: bytes) -> None:
    house.server.user = said
    desk = house.desk()
    end = await desk.sign_ins.sign_in(SERVER, house.settings(scope="openid"), Browser())
    assert end.state == "connected"


# Issuers


@pytest.mark.parametrize(("pinned", "named"), [("/", ""), ("", "/"), ("", ""), ("/", "/")])
async def test_a_slash_at_the_end_of_an_issuer_is_nothing(
    house: House, pinned: str, named: str
) -> None:
    issuer = house.server.url + named
    house.server.issuer = issuer
    settings = house.settings(issuer=house.server.url + pinned)
    desk = await house.signed_in(settings)
    assert (await desk.sign_ins.state(SERVER, settings)).state == "connected"
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200


def _answer(server: AuthServer, iss: str) -> str:
    client = Client(client_id="mine", issuer=server.issuer)
    redirect = "http://127.0.0.1:7/oauth/callback"
    pending = begin(server, client, redirect_uri=redirect, resource="", scope="")
    return code_of(pending, f"{redirect}?code=c&state={pending.state}&iss={iss}")


def test_the_issuer_that_github_names_is_its_own() -> None:
    github = SERVICES["github"].server
    assert _answer(github, "https://github.com/login/oauth") == "c"
    for other in ("https://github.com", "https://github.com.evil.example/login/oauth", ""):
        with pytest.raises(SignInFault, match="not from"):
            _answer(github, other)


async def test_an_issuer_that_nobody_named_is_known_by_its_origin() -> None:
    oauth = OAuthSettings(
        client_id="mine",
        authorization_endpoint="https://git.example/login/oauth/authorize",
        token_endpoint="https://git.example/login/oauth/access_token",
        variable="TOKEN",
    )
    for chosen in (oauth, replace(oauth, provider="github")):
        found = await find(_nobody, ServerSettings(command="x", oauth=chosen), None)
        assert _answer(found.server, "https://git.example/login/oauth") == "c"
        assert _answer(found.server, "https://git.example") == "c"
        for other in ("https://evil.example", "http://git.example", "https://git.example:444"):
            with pytest.raises(SignInFault, match="not from"):
                _answer(found.server, other)
    named = replace(oauth, issuer="https://git.example/realms/a")
    found = await find(_nobody, ServerSettings(command="x", oauth=named), None)
    with pytest.raises(SignInFault, match="not from"):
        _answer(found.server, "https://git.example/realms/b")


async def _nobody(method: str, url: str, **_: object) -> Answer:
    raise AssertionError(f"{method} {url} was asked")


# Trouble that lasts


async def test_calls_do_not_wait_one_after_another_for_one_that_is_away(house: House) -> None:
    desk = await house.signed_in()
    house.clock.advance(3600)
    house.server.fail = 1000
    before = house.server.log.count("POST /token")
    failed: list[SignInFault] = []
    settings = house.settings()
    await desk.sign_ins.state(SERVER, settings)  # what is on the disk is known: all come at once

    async def call() -> None:
        async with caller(desk, settings) as client:
            try:
                await client.call()
            except SignInFault as fault:
                failed.append(fault)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(call)
    assert len(failed) == 8
    assert not any(fault.final for fault in failed)
    assert house.server.log.count("POST /token") == before + 1
    house.server.fail = 0
    house.clock.advance(11)
    async with caller(desk, settings) as client:
        assert await client.call() == 200


@pytest.mark.parametrize("error", ["invalid_grant", "bad_refresh_token"])
async def test_every_way_to_say_that_a_grant_ended_is_known(house: House, error: str) -> None:
    desk = await house.signed_in()
    house.clock.advance(3600)
    house.server.refusal = error
    async with caller(desk, house.settings()) as client:
        assert await client.call() == 401
        assert client.authority.wanted
    assert (await desk.sign_ins.state(SERVER, house.settings())).state == "disconnected"


@pytest.mark.parametrize("error", ["invalid_client", "incorrect_client_credentials"])
async def test_a_wrong_secret_of_the_client_costs_nobody_a_sign_in(
    house: House, error: str
) -> None:
    house.server.add_client("mine", "right")
    desk = house.desk()
    desk.vault.set("client", "right")
    settings = house.settings(client_id="mine", client_secret="secret:client")
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    house.clock.advance(3600)
    desk.vault.set("client", "wrong")
    house.server.refusal = error
    async with caller(desk, settings) as client:
        with pytest.raises(SignInFault, match=error) as told:
            await client.call()
        assert "client_secret" in told.value.failure.hint
        assert told.value.failure.code != SIGN_IN
        desk.vault.set("client", "right")
        house.server.refusal = ""
        house.clock.advance(11)
        assert await client.call() == 200
    assert house.server.counts["prompts"] == 1


async def test_a_machine_is_not_told_to_sign_in(house: House) -> None:
    settings = replace(
        house.settings(client_id="robot", client_secret="secret:robot"),
        auth_mode="client_credentials",
    )
    desk = house.desk()
    house.server.add_client("robot", "hidden")
    desk.vault.set("robot", "hidden")
    house.server.refusal = "invalid_scope"
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", "token")
    assert "invalid_scope" in end.message
    assert "Sign in" not in end.hint
    assert "`oauth`" in end.hint


# Registrations


async def test_a_registration_that_is_not_used_any_more_is_ended(house: House) -> None:
    desk = await house.signed_in()
    first = set(house.server.clients)
    async with _listener_on_the_port(house):
        end = await desk.sign_ins.sign_in(SERVER, house.settings(), Browser())
    assert end.state == "connected"
    assert len(house.server.clients) == 1
    assert set(house.server.clients).isdisjoint(first)


@pytest.mark.parametrize("deny", [True, False])
async def test_the_registration_of_a_sign_in_that_failed_is_used_by_the_next(
    house: House, deny: bool
) -> None:
    for _ in range(3):
        house.server.deny, house.server.fail = deny, 0 if deny else 1
        end = await house.desk().sign_ins.sign_in(SERVER, house.settings(), Browser())
        assert end.state == ("denied" if deny else "error")
    desk = house.desk()
    assert (await desk.sign_ins.state(SERVER, house.settings())).state == "disconnected"
    house.server.deny = False
    assert (await desk.sign_ins.sign_in(SERVER, house.settings(), Browser())).state == "connected"
    assert house.server.counts["registrations"] == 1


async def test_one_that_a_failed_sign_in_made_beside_another_is_ended(house: House) -> None:
    desk = await house.signed_in()
    first = set(house.server.clients)
    house.server.deny = True
    async with _listener_on_the_port(house):
        end = await desk.sign_ins.sign_in(SERVER, house.settings(), Browser())
    assert end.state == "denied"
    assert house.server.counts["registrations"] == 2
    assert set(house.server.clients) == first


async def test_one_that_is_in_use_survives_a_sign_in_that_failed(house: House) -> None:
    desk = await house.signed_in()
    house.server.deny = True
    end = await desk.sign_ins.sign_in(SERVER, house.settings(), Browser())
    assert end.state == "denied"
    assert len(house.server.clients) == 1
    house.clock.advance(3600)
    async with caller(desk, house.settings()) as client:
        assert await client.call() == 200


async def test_a_registration_that_the_other_side_forgot_is_no_dead_end(house: House) -> None:
    """It says so on its page, from which nobody comes back, so that all that is seen is silence."""
    settings = house.settings()
    await house.signed_in(settings)
    house.server.revoke_all()
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 401
    house.server.clients.clear()
    desk, before = house.desk(), house.server.log.count("POST /register")

    async def time_passes() -> None:
        await until(lambda: bool(desk.told) and desk.told[-1].step == "callback")
        house.clock.advance(121)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(time_passes)
        end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert end.state == "timeout"
    assert house.server.log.count("POST /register") == before
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    assert house.server.log.count("POST /register") == before + 1


def _port(house: House, desk: Desk) -> int:
    record = desk.grants.read(SERVER)
    assert record is not None
    uri = json.loads(record)["client"]["redirect_uri"]
    return int(uri.split(":")[2].partition("/")[0])


@asynccontextmanager
async def _listener_on_the_port(house: House) -> AsyncIterator[None]:
    """Have the port of the last redirect taken by somebody else."""
    port = _port(house, house.desk())
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port):
        yield


# Addresses that the user typed


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Web]:
    async with web(tmp_path) as found:
        found.answers["/token"] = said()
        yield found


def _oauth(**typed: str) -> tuple[str, ...]:
    return granted(replace(OAuthSettings(), **typed))


@pytest.mark.parametrize(
    "field",
    [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "revocation_endpoint",
        "exchange_endpoint",
    ],
)
async def test_what_the_user_typed_may_be_in_a_private_network(net: Web, field: str) -> None:
    net.names = {"good.example": [["10.1.2.3"]], "other.example": [["10.1.2.4"]]}
    fetch = net.fetch(typed=_oauth(**{field: "https://good.example/realms/a"}))
    assert (await fetch("GET", "https://good.example/token")).status == 200
    assert (await fetch("POST", "https://good.example/token", body=b"x")).status == 200
    # Nobody typed another host, or another port of that one.
    for url in ("https://other.example/token", "https://good.example:8443/token"):
        with pytest.raises(SignInFault, match="private network") as told:
            await fetch("GET", url)
        assert "`issuer`" in told.value.failure.hint
    assert net.dialled == ["10.1.2.3", "10.1.2.3"]


async def test_what_nobody_typed_may_not(net: Web) -> None:
    net.names = {"good.example": [["10.1.2.3"]]}
    with pytest.raises(SignInFault, match="private network"):
        await net.fetch()("GET", "https://good.example/token")
    assert net.dialled == []


async def test_what_the_user_typed_is_no_way_to_this_machine_or_to_a_cloud(net: Web) -> None:
    fetch = net.fetch(typed=_oauth(issuer="https://good.example", token_endpoint="https://x y"))
    for astray in ("127.0.0.1", "::1", "169.254.169.254", "100.100.100.200", "::ffff:127.0.0.1"):
        net.names = {"good.example": [[astray]]}
        with pytest.raises(SignInFault):
            await fetch("GET", "https://good.example/token")
        net.names = {"good.example": [[PUBLIC, astray]]}
        with pytest.raises(SignInFault):
            await fetch("GET", "https://good.example/token")
    assert net.dialled == []


async def test_what_the_user_typed_may_be_this_machine_itself(net: Web) -> None:
    net.names = {"localhost": [["127.0.0.1"]]}
    fetch = net.fetch(typed=_oauth(issuer=f"http://127.0.0.1:{net.plain}"))
    assert (await fetch("GET", f"http://127.0.0.1:{net.plain}/token")).status == 200
    for url in (f"http://127.0.0.1:{net.port}/token", f"http://localhost:{net.plain}/token"):
        with pytest.raises(SignInFault):
            await fetch("GET", url)


async def test_nothing_is_asked_for_a_server_that_is_not_there(house: House) -> None:
    """What it would say of the typed authorization server is not known."""
    settings = ServerSettings(
        transport="streamable-http",
        url="https://server.invalid/mcp",
        oauth=OAuthSettings(
            client_id="mine",
            issuer=house.server.url,
            authorization_endpoint=f"{house.server.url}/authorize",
            token_endpoint=f"{house.server.url}/token",
        ),
    )
    house.server.add_client("mine")
    end = await house.desk().sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", "discovery"), end
    assert house.server.log == []


# The step that failed


async def test_the_step_is_that_of_the_flow_where_a_place_cannot_be_asked(house: House) -> None:
    for name, step in (("registration_endpoint", "registration"), ("token_endpoint", "token")):
        house.server.metadata = {name: "http://127.0.0.1:9/gone"}
        end = await house.desk().sign_ins.sign_in(SERVER, house.settings(), Browser())
        assert (end.state, end.step) == ("error", step), end


@pytest.mark.parametrize(
    ("fields", "step"),
    [({"token_endpoint": "http://127.0.0.1:9/gone"}, "token"), ({"issuer": "x"}, "discovery")],
)
async def test_so_it_is_for_machines(house: House, fields: dict[str, str], step: str) -> None:
    house.server.metadata = fields
    settings = house.settings(client_id="robot", client_secret="secret:robot")
    settings = replace(settings, auth_mode="client_credentials")
    desk = house.desk()
    desk.vault.set("robot", "hidden")
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", step), end


# What is kept


class _Fickle:
    """Grants that are `full` after so many more writes."""

    def __init__(self, desk: Desk) -> None:
        self.inner = desk.grants
        self.left = 1000
        self.busy = False

    def read(self, server: str) -> bytes | None:
        if self.busy:
            raise ConfigFault("The kept keys cannot be read.", hint="Look at them.")
        return self.inner.read(server)

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConfigFault("The disk is full.", hint="Make room.")
        self.inner.write(server, record, secrets)

    def servers(self) -> tuple[str, ...]:
        return self.inner.servers()

    def alone(self, server: str) -> AbstractAsyncContextManager[None]:
        return self.inner.alone(server)


def _fickle(house: House) -> tuple[Desk, _Fickle]:
    made: list[_Fickle] = []

    def instead(desk: Desk) -> _Fickle:
        made.append(_Fickle(desk))
        return made[0]

    return Desk(house.folder, house.clock, instead), made[0]


async def test_a_name_that_cannot_be_kept_ends_no_sign_in(house: House) -> None:
    desk, grants = _fickle(house)
    grants.left = 1
    end = await desk.sign_ins.sign_in(SERVER, house.settings(scope="openid"), Browser())
    assert end.state == "connected", end
    async with caller(house.desk(), house.settings()) as client:
        assert await client.call() == 200


async def test_nobody_is_asked_to_sign_in_where_nothing_can_be_kept(house: House) -> None:
    await house.signed_in()
    desk, grants = _fickle(house)
    settings = house.settings()
    async with caller(desk, settings) as client:
        assert await client.call() == 200
        house.clock.advance(3600)
        grants.busy = True
        with pytest.raises(SignInFault, match="cannot be read") as told:
            await client.call()
        assert told.value.failure.code != SIGN_IN
        assert not client.authority.wanted
        grants.busy = False
        assert await client.call() == 200
    assert house.server.counts["prompts"] == 1


async def test_a_server_that_wants_ever_more_does_not_fill_the_disk(house: House) -> None:
    desk = await house.signed_in()
    settings = house.settings()
    async with caller(desk, settings) as client:
        for number in range(40):
            house.server.needed = " ".join(f"scope-{number}-{other}" for other in range(20))
            assert await client.call() == 403
    record = desk.grants.read(SERVER)
    assert record is not None
    assert len(record) < 10_000
    assert json.loads(record)["wanted"].split()[-1] == "scope-39-19"


async def test_nor_does_one_whose_metadata_is_endless(house: House) -> None:
    house.server.metadata = {"scopes_supported": ["x" * 1000] * 900, "grant_types_supported": [1]}
    desk = await house.signed_in()
    record = desk.grants.read(SERVER)
    assert record is not None
    assert len(record) < 64 * 1024
