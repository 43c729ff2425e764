"""Secrets by name, for providers and variables of servers: kept, given, missed, forgotten."""

from pathlib import Path

import pytest
from tests.secrets.places import Computer

from patina.mcp.environment import own
from patina.model.faults import McpFault, ProviderFault
from patina.model.settings import ProviderSettings, ServerSettings
from patina.providers.endpoints import Endpoints
from patina.secrets.environment import Resolver


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path / "home")


def resolver(computer: Computer, **environ: str) -> Resolver:
    return Resolver(environ, computer.vault(), computer.seen.append)


def test_each_variable_of_a_server_has_its_own(computer: Computer) -> None:  # A-06 A-09 A-11
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    server = ServerSettings(env={name: f"secret:aws/{name}" for name in names}, required=names[:2])
    keys = resolver(computer)
    for name in names:
        keys.set(f"aws/{name}", f"value of {name}")
    keys.set("other/AWS_REGION", "another server's")
    assert own("aws", server, resolver(computer)) == {name: f"value of {name}" for name in names}
    # Replaced in place; one that is optional may be missing, one that is required may not.
    keys.set("aws/AWS_REGION", "eu-central-1")
    assert own("aws", server, resolver(computer))["AWS_REGION"] == "eu-central-1"
    assert keys.remove("aws/AWS_REGION")
    assert "AWS_REGION" not in own("aws", server, resolver(computer))
    assert keys.remove("aws/AWS_ACCESS_KEY_ID")
    with pytest.raises(McpFault, match="there is no secret aws/AWS_ACCESS_KEY_ID") as caught:
        own("aws", server, resolver(computer))
    assert caught.value.failure.hint == "Keep it with `patina keys set aws/AWS_ACCESS_KEY_ID`."


def test_each_provider_has_its_own(computer: Computer) -> None:
    keys = resolver(computer)
    keys.set("openai", "sk-of-openai")
    keys.set("work", "sk-of-work")
    work = ProviderSettings(
        kind="openai_compatible", base_url="https://work.example/v1", api_key="secret:work"
    )
    openai = ProviderSettings(kind="openai")
    for name, settings, key in (("openai", openai, "sk-of-openai"), ("work", work, "sk-of-work")):
        auth = Endpoints(resolver(computer)).find(name, settings).auth
        assert auth is not None
        assert auth.value == f"Bearer {key}"
        assert keys.remove(name)
        with pytest.raises(ProviderFault, match="There is no key for"):
            Endpoints(resolver(computer)).find(name, settings)


def test_patinas_own_records_are_no_secrets_by_name(computer: Computer) -> None:
    computer.vault().change("@grant/far", lambda _: b"record")
    assert resolver(computer).resolve("secret:@grant/far") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"of":"AAAA","names":{}}'])
def test_names_that_were_kept_for_speed_are_never_trusted_blindly(
    computer: Computer, content: bytes
) -> None:
    computer.protected("file")
    computer.index.write_bytes(content)
    assert computer.vault().names() == ["openai"]
    old = computer.index.read_bytes()
    computer.vault().set("more", "x")
    computer.index.write_bytes(old)
    assert computer.vault().names() == ["more", "openai"]
    computer.index.unlink()
    assert computer.vault().get("more") == "x"
    # One that cannot be written costs time, nothing else.
    computer.index.unlink()
    computer.index.mkdir()
    assert computer.vault().names() == ["more", "openai"]
