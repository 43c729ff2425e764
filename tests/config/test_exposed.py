"""Secrets where no reference can stand, and literal ones of sign-ins."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from patina.config.environment import read_environment
from patina.config.exposed import exposed, in_address, in_arguments
from patina.config.literals import find_literals
from patina.config.load import NOTICES, WARNINGS, load_config
from patina.config.paths import find_paths

KEY = "sk-canary-0123456789"


class Kept:
    """Secrets in a dictionary."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.secrets.get(name)

    def set(self, name: str, value: str) -> None:
        self.secrets[name] = value

    def remove(self, name: str) -> bool:
        return self.secrets.pop(name, None) is not None

    def names(self) -> Sequence[str]:
        return sorted(self.secrets)


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--api-key=" + KEY], ["--api-key"]),
        (["--token", KEY], ["--token"]),
        (["run", "-e", f"API_TOKEN={KEY}", "image"], ["API_TOKEN"]),
        (["--header", f"Authorization: Bearer {KEY}"], ["Authorization"]),
        (["-H", f"X-Api-Key:{KEY}"], ["X-Api-Key"]),
        (["--api-key", KEY, "--token=" + KEY], ["--api-key", "--token"]),
        (["--api-key", "$API_KEY"], []),
        (["--token", "short"], []),
        (["--key", "/etc/mine/key.pem", "--token", "~/token-of-mine"], []),
        (["--header", "Authorization: Bearer ${TOKEN_OF_MINE}"], []),
        (["--max-tokens", "8192000000"], []),
        (["-y", "@scope/server", "--port", "8080"], []),
        (["-e", "MODE=production-like"], []),
    ],
)
def test_arguments(args: list[str], names: list[str]) -> None:
    assert in_arguments(args) == names


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (f"https://me:{KEY}@a.example/mcp", ["the password in it"]),
        (f"https://a.example/mcp?api_key={KEY}", ["api_key"]),
        (f"https://a.example/mcp?x=1&token={KEY}", ["token"]),
        (f"https://a.example/mcp?key={KEY}&access_token={KEY}", ["key", "access_token"]),
        ("https://a.example/mcp?token=secret:a/TOKEN", []),
        ("https://a.example/mcp?page=123456789", []),
        ("https://a.example/mcp", []),
        ("https://[broken/?token=" + KEY, []),
        ("", []),
    ],
)
def test_addresses(url: str, names: list[str]) -> None:
    assert in_address(url) == names


def test_the_sentences_say_what_to_do_and_not_the_secret() -> None:
    table = {"args": [f"--api-key={KEY}"], "url": f"https://a.example/?token={KEY}"}
    arguments, address = exposed("one.two", table)
    assert KEY not in arguments + address
    assert arguments.startswith('mcp_servers."one.two".args holds a secret (--api-key), which')
    assert "patina keys set one.two/NAME" in arguments
    assert 'Authorization = "Bearer secret:one.two/TOKEN"' in address


def test_literal_secrets_of_a_sign_in_are_found() -> None:
    oauth = {"client_id": "mine", "client_secret": KEY, "private_key": "-----BEGIN KEY-----\nx"}
    found = find_literals({"mcp_servers": {"s": {"oauth": oauth}}})
    assert [(one.path[2:], one.name) for one in found] == [
        (("oauth", "client_secret"), "s/client_secret"),
        (("oauth", "private_key"), "s/private_key"),
    ]
    kept = {"client_secret": "secret:s/client_secret", "private_key": "keyfile:~/key.pem"}
    assert find_literals({"mcp_servers": {"s": {"oauth": kept}}}) == []


def test_they_are_moved_as_the_configuration_is_read_and_the_rest_is_told(tmp_path: Path) -> None:
    paths = find_paths({"PATINA_HOME": str(tmp_path)})
    paths.config_toml.write_text(
        "version = 1\n"
        f'[mcp_servers.s]\ntransport = "streamable-http"\nurl = "https://a.example/?token={KEY}"\n'
        f'[mcp_servers.s.oauth]\nclient_id = "mine"\nclient_secret = "{KEY}"  # mine\n'
    )
    keys = Kept()
    configured = load_config(paths, read_environment(paths), keys)
    assert keys.secrets == {"s/client_secret": KEY}
    assert configured.settings.mcp_servers["s"].oauth.client_secret == "secret:s/client_secret"
    text = paths.config_toml.read_text()
    assert 'client_secret = "secret:s/client_secret"  # mine' in text
    assert KEY not in text.partition("[mcp_servers.s.oauth]")[2]
    assert any("client_secret" in notice for notice in configured.extra[NOTICES])
    assert any("url holds a secret (token)" in one for one in configured.extra[WARNINGS])
    assert not any(KEY in one for one in [*configured.extra[NOTICES], *configured.extra[WARNINGS]])
    again = load_config(paths, read_environment(paths), keys)
    assert NOTICES not in again.extra
