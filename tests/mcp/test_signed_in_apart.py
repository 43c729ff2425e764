"""What was issued for one server reaches no other: P-05, P-09. Local servers: A-57."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from tests.mcp.auth.desk import Browser, Desk
from tests.mcp.house import House, until
from tests.mcp.servers.http_raw import OldServer, Request, Wire, serving
from tests.mcp.signed import Estate, Human, estate, sign_in_elsewhere

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.opening import Surroundings
from patina.mcp.report import Report, examine
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo
from patina.model.faults import McpFault
from patina.model.parts import text_of
from patina.model.settings import OAuthSettings, ServerSettings
from patina.secrets.environment import Resolver

pytestmark = pytest.mark.anyio
ENVIRONMENT = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    results = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "local", "version": "1"}},
        "tools/list": {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": json.dumps(dict(os.environ))}]},
        "ping": {},
    }
    if "id" in message:
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        found = results.get(message["method"])
        wrong = {"code": -32601, "message": "no such method"}
        answer |= {"error": wrong} if found is None else {"result": found}
        print(json.dumps(answer), flush=True)
"""


def shown(requests: list[Request]) -> set[str]:
    return {one.headers.get("authorization", "") for one in requests}


async def call(
    supervisor: Supervisor, server: str, person: Human | None = None, **arguments: Any
) -> str:
    tools = Toolset(supervisor)
    with anyio.fail_after(30):
        tool = ToolInfo(server=server, tool="do", alias="", display_name=server)
        await tools.ready(tool)
        await tools.list((server,))
        outcome = await tools.call(tools.find(f"{server}.do") or tool, arguments, person)
    return text_of(outcome.parts)


async def test_another_server_is_sent_nothing_of_it(house: House) -> None:
    async with estate(house, "handshake") as found, serving(OldServer()) as other:
        await sign_in_elsewhere(found)
        there = ServerSettings(transport="streamable-http", url=other.url)
        async with found.patina(servers={"s": found.settings, "t": there}) as supervisor:
            assert await call(supervisor, "s") == "done"
            assert await call(supervisor, "t") == "done"
    assert len(found.tokens) > 2
    assert shown(other.requests) == {""}


async def test_another_server_of_the_same_place_needs_a_sign_in_of_its_own(house: House) -> None:
    async with estate(house, "handshake") as found:
        await sign_in_elsewhere(found)
        async with found.patina(servers={"t": found.settings}) as supervisor:
            with pytest.raises(McpFault) as caught:
                await supervisor.connect("t")
    assert caught.value.failure.code == SIGN_IN
    assert found.tokens == []


async def test_a_server_that_refuses_every_request_is_sent_nothing_of_another(
    house: House,
) -> None:
    async def refuse(_: Request, wire: Wire) -> None:
        where = found.desk.url + "/.well-known/oauth-protected-resource/mcp"
        challenge = f'Bearer resource_metadata="{where}"'
        await wire.status("401 Unauthorized", WWW_Authenticate=challenge)

    async with estate(house, "handshake") as found, serving(refuse) as thief:
        await sign_in_elsewhere(found)
        there = ServerSettings(transport="streamable-http", url=thief.url)
        async with found.patina(servers={"s": found.settings, "t": there}) as supervisor:
            assert await call(supervisor, "s") == "done"
            # Its metadata is that of the other: tokens for that one are not for this.
            with pytest.raises(McpFault):
                await call(supervisor, "t", Human())
    assert shown(thief.requests) == {""}


@pytest.mark.parametrize(
    "status", ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
async def test_a_redirect_to_another_origin_is_not_followed(house: House, status: str) -> None:
    async with estate(house, "handshake") as found, serving(OldServer()) as thief:
        assert found.raw is not None
        await sign_in_elsewhere(found)
        inner = found.raw.handler

        async def redirect(request: Request, wire: Wire) -> None:
            if request.rpc == "tools/call":
                await wire.status(status, Location=thief.url)
            else:
                await inner(request, wire)

        found.raw.handler = redirect
        async with found.patina() as supervisor:
            with pytest.raises(McpFault, match="which was not followed"):
                await call(supervisor, "s")
    assert thief.requests == []


async def test_a_redirect_within_the_origin_carries_it(house: House) -> None:
    async with estate(house, "handshake") as found:
        assert found.raw is not None
        found.desk.dpop = True  # proofs are of one address
        await sign_in_elsewhere(found)
        inner = found.raw.handler

        async def redirect(request: Request, wire: Wire) -> None:
            if request.rpc == "tools/call" and request.path == "/mcp":
                await wire.status("307 Temporary Redirect", Location="/other/mcp")
            else:
                await inner(request, wire)

        found.raw.handler = redirect
        async with found.patina() as supervisor:
            assert await call(supervisor, "s") == "done"
        (first, second) = found.raw.asked("tools/call")
    assert first.headers["dpop"] != second.headers["dpop"]
    assert first.headers["authorization"] == second.headers["authorization"]


async def test_another_url_under_the_same_name_is_sent_nothing(house: House) -> None:
    async with estate(house, "handshake") as found, serving(OldServer()) as other:
        await sign_in_elsewhere(found)
        async with found.patina() as supervisor:
            assert await call(supervisor, "s") == "done"
            await supervisor.reconfigure({"s": replace(found.settings, url=other.url)})
            assert await call(supervisor, "s") == "done"
    assert shown(other.requests) == {""}


@pytest.mark.parametrize("mode", ["none", "bearer", "server"])
async def test_only_where_it_is_wanted(house: House, mode: Any) -> None:
    async with estate(house, "handshake") as found:
        await sign_in_elsewhere(found)
        found.settings = replace(found.settings, auth_mode=mode)
        async with found.patina() as supervisor:
            with pytest.raises(McpFault) as caught:
                await supervisor.connect("s")
    failure = caught.value.failure
    assert failure.code != SIGN_IN
    assert failure.hint.startswith("Give it a key: `patina mcp token s`.")
    assert found.tokens == []


async def test_a_key_of_the_settings_is_sent_as_it_is(house: House) -> None:
    house.keys.secrets["s"] = "own-key"
    async with estate(house, "handshake") as found:
        await sign_in_elsewhere(found)
        found.settings = replace(found.settings, headers={"Authorization": "Bearer secret:s"})
        async with found.patina() as supervisor:
            with pytest.raises(McpFault, match="its key was refused"):
                await supervisor.connect("s")
    assert set(found.refused) == {"own-key"}


def local(found: Estate, folder: Path, **more: Any) -> ServerSettings:
    script = folder / "local.py"
    script.write_text(ENVIRONMENT)
    oauth = OAuthSettings(
        issuer=found.desk.issuer, client_id="mine", variable="NOTES_TOKEN", scope="notes"
    )
    return ServerSettings(command=sys.executable, args=(str(script),), oauth=oauth, **more)


#
async def test_a_local_server_finds_its_token_in_a_variable(house: House) -> None:
    async with estate(house, "handshake") as found:
        found.desk.add_client("mine")
        settings = local(found, house.root, required=("NOTES_TOKEN",))
        other = replace(settings, oauth=OAuthSettings(), required=())
        servers = {"s": settings, "t": other}
        async with found.patina(servers=servers) as supervisor:
            with pytest.raises(McpFault) as caught:
                await supervisor.connect("s")
            assert caught.value.failure.message == "Server s wants you to sign in."
            assert not house.was_started("s")
            person = Human()
            assert await supervisor.signing.sign_in("s", person)
            environment = json.loads(await call(supervisor, "s"))
            assert len(person.pages) == 1
            token = environment["NOTES_TOKEN"]
            assert token in found.desk.access
            beside = json.loads(await call(supervisor, "t"))
            assert token not in json.dumps(beside)
            assert "NOTES_TOKEN" not in beside
            await supervisor.stop("s")
            found.clock.advance(3600)
            environment = json.loads(await call(supervisor, "s"))
            assert environment["NOTES_TOKEN"] in found.desk.access
            assert environment["NOTES_TOKEN"] != token
        assert found.desk.counts["prompts"] == found.desk.counts["refreshes"] == 1
        assert token not in house.log("s")


async def test_it_is_started_when_somebody_signed_in_elsewhere(house: House) -> None:
    async with estate(house, "handshake") as found:
        found.desk.add_client("mine")
        found.settings = local(found, house.root)
        async with found.patina() as supervisor:
            supervisor.start_background()
            await until(lambda: supervisor.status()[0].state == "error", 20)
            other = Desk(house.root / "secrets", found.clock)
            ended = await other.sign_ins.sign_in("s", found.settings, Browser())
            assert ended.state == "connected"
            await until(lambda: supervisor.connected("s"), 20)


async def examined(found: Estate, settings: ServerSettings, *, deep: bool = False) -> Report:
    house = found.house
    desk = Desk(house.root / "secrets", found.clock)
    keys = Resolver(house.environ, house.keys, house.seen.append)
    around = Surroundings(keys, house.environ, house.root / "state", sign_ins=desk.sign_ins)
    with anyio.fail_after(20):
        return await examine("s", settings, around, wait=5, deep=deep)


@pytest.mark.parametrize("wire", ["handshake", "sse", "websocket"])
async def test_the_diagnosis_names_the_command(house: House, wire: str) -> None:
    async with estate(house, wire) as found:
        report = await examined(found, found.settings)
        assert report.diagnosis is not None
        assert report.diagnosis.kind == "needs_sign_in"
        assert report.diagnosis.sentence.startswith("Server s wants you to sign in")
        assert report.diagnosis.hint == "Run `patina mcp login s`."
        await sign_in_elsewhere(found)
        report = await examined(found, found.settings, deep=True)
        assert report.connected
        assert report.look is not None
        assert report.look.status() not in (401, 403)


async def test_the_diagnosis_of_a_local_server_names_the_command(house: House) -> None:
    async with estate(house, "handshake") as found:
        report = await examined(found, local(found, house.root))
        assert report.diagnosis is not None
        assert report.diagnosis.kind == "needs_sign_in"
        assert report.diagnosis.hint == "Run `patina mcp login s`."
