"""A sign-in that another program left (A-50): imported, then renewed as Patina's own are."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.mcp.auth.desk import SERVER, Browser, House, caller, house_at

from patina.mcp.auth.shapes import Grant
from patina.mcp.legacy_config import decode, to_settings
from patina.mcp.legacy_secrets import find_secrets, grant_of
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio
ID = "6f1b0c7e-90bb-4f0e-9d49-5c7f3a2b1c0d"
CLIENT = "client-of-before"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path / "patina") as running:
        running.server.add_client(CLIENT)
        yield running


async def left_behind(house: House, folder: Path, expires_at: float) -> ServerSettings:
    """Sign in elsewhere, leave what that program keeps in `folder`, and import it."""
    elsewhere = House(house.server, folder / "elsewhere", house.clock)
    settings = elsewhere.settings(client_id=CLIENT)
    desk = elsewhere.desk()
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    kept = desk.grants.read(SERVER)
    assert kept is not None
    tokens = msgspec.json.decode(kept, type=Grant).tokens
    server = {
        "id": ID,
        "name": "Notes",
        "enabled": True,
        "source": {"type": "manual", "url": house.server.mcp},
        "transport": "http",
        "auth_type": "oauth",
        "env_vars": [],
        "config": {},
    }
    file = folder / "servers.json"
    file.write_text(json.dumps({"version": "1.0", "profiles": [], "mcps": [server]}))
    record = {"access_token": tokens.access, "refresh_token": tokens.refresh}
    (folder / "secrets").mkdir()
    (folder / "secrets" / f"mcp_{ID}.oauth").write_text(
        json.dumps({**record, "expires_at": expires_at})
    )
    (config,) = decode(file.read_bytes()).mcps
    name, imported = to_settings(config)
    assert name == SERVER
    found = find_secrets(file, config)
    assert found.wrong == ()
    assert found.tokens is not None
    grant = grant_of(imported, found.tokens)
    house.desk().grants.write(SERVER, msgspec.json.encode(grant))
    return imported


async def test_it_serves_until_it_ends_and_is_then_renewed(house: House, tmp_path: Path) -> None:
    settings = await left_behind(house, tmp_path, 4e9)
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
    # It ended: the name of the client is all that has to be told, and nobody is asked anything.
    house.server.end_access()
    named = replace(settings, oauth=replace(settings.oauth, client_id=CLIENT))
    for _ in range(2):
        async with caller(house.desk(), named) as client:
            assert await client.call() == 200
    assert (house.server.counts["refreshes"], house.server.counts["prompts"]) == (1, 1)
    kept = house.desk().grants.read(SERVER)
    assert kept is not None
    grant = msgspec.json.decode(kept, type=Grant)
    assert grant.client.client_id == CLIENT
    assert grant.server.issuer == house.server.issuer
    assert grant.server.token_endpoint


async def test_one_that_has_ended_is_renewed_first(house: House, tmp_path: Path) -> None:
    settings = await left_behind(house, tmp_path, 1.0)
    named = replace(settings, oauth=replace(settings.oauth, client_id=CLIENT))
    async with caller(house.desk(), named) as client:
        assert await client.call() == 200
        assert client.sent == 1
    assert (house.server.counts["refreshes"], house.server.counts["reuses"]) == (1, 0)


async def test_of_an_unknown_client_one_sign_in_is_needed(house: House, tmp_path: Path) -> None:
    settings = await left_behind(house, tmp_path, 1.0)
    desk = house.desk()
    async with caller(desk, settings) as client:
        assert await client.call() == 401
    assert house.server.counts["refreshes"] == 0  # a token is shown to nobody as another's
    assert (await desk.sign_ins.state(SERVER, settings)).state != "connected"
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
