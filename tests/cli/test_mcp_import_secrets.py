"""`patina mcp import` takes the secrets that lie beside the file (A-06, A-50)."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from tests.cli.support import home, in_process
from tests.cli.test_mcp import config
from tests.cli.test_mcp_import import ID, Capture, server, write

from patina.cli.context import Context
from patina.mcp.auth.shapes import Grant

KEY = "canary-key-0123456789"
REMOTE = {"source": {"type": "manual", "url": "https://a.example/mcp"}, "transport": "http"}


@pytest.fixture(autouse=True)
def without_keychain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")


def beside(folder: Path, **files: str) -> None:
    (folder / "secrets").mkdir()
    for name, text in files.items():
        (folder / "secrets" / f"mcp_{name}").write_text(text)


def test_keys_are_kept_and_their_files_named(tmp_path: Path, capsys: Capture) -> None:  # A-06 A-09
    variables = [{"name": "A_TOKEN", "required": True}, {"name": "B_TOKEN", "required": False}]
    file = write(tmp_path, server("GitHub", env_vars=variables))
    beside(tmp_path, **{f"{ID}.key": f"{KEY}\n", f"{ID}.B_TOKEN.key": f"{KEY}-b"})
    assert in_process("mcp", "import", file) == 0
    said = capsys.readouterr()
    assert KEY not in said.out + said.err + config()
    assert said.out.splitlines()[1:] == [
        "  its key is kept as secret:github/A_TOKEN",
        "  its key is kept as secret:github/B_TOKEN",
        "  patina mcp trust github",
        "These files are not needed any more, and hold secrets. Delete them:",
        f"  {tmp_path / 'secrets' / f'mcp_{ID}.B_TOKEN.key'}",
        f"  {tmp_path / 'secrets' / f'mcp_{ID}.key'}",
    ]
    run = Context()
    assert run.keys.get("github/A_TOKEN") == KEY
    assert run.keys.get("github/B_TOKEN") == f"{KEY}-b"
    assert 'A_TOKEN = "secret:github/A_TOKEN"' in config()
    assert len(list((tmp_path / "secrets").iterdir())) == 2  # left alone
    for path in home().rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_a_sign_in_is_kept(tmp_path: Path, capsys: Capture) -> None:
    file = write(tmp_path, server("Far", **REMOTE, auth_type="oauth"))
    record = {"access_token": KEY, "refresh_token": f"{KEY}-r", "expires_at": 4_000_000_000}
    beside(tmp_path, **{f"{ID}.oauth": json.dumps(record)})
    assert in_process("mcp", "import", file, "--json") == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)["imported"]
    assert (row["server"], row["signed_in"], row["secrets"]) == ("far", True, [])
    assert json.loads(said.out)["delete"] == [str(tmp_path / "secrets" / f"mcp_{ID}.oauth")]
    assert KEY not in said.out + said.err
    kept = Context().grants.read("far")
    assert kept is not None
    grant = msgspec.json.decode(kept, type=Grant)
    assert (grant.url, grant.server.issuer) == ("https://a.example/mcp", "")
    assert (grant.tokens.access, grant.tokens.refresh) == (KEY, f"{KEY}-r")
    assert grant.tokens.expires_at == 4e9
    for path in home().rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_a_local_server_finds_its_token_in_the_variable(tmp_path: Path) -> None:
    file = write(tmp_path, server("GitHub", auth_type="oauth"))
    beside(tmp_path, **{f"{ID}.oauth": json.dumps({"access_token": KEY})})
    assert in_process("mcp", "import", file) == 0
    settings = Context().load().settings.mcp_servers["github"]
    assert (settings.oauth.variable, settings.env) == ("A_TOKEN", {})


def test_a_server_that_is_skipped_keeps_its_files(tmp_path: Path, capsys: Capture) -> None:
    file = write(tmp_path, server("GitHub"), server("github"))
    beside(tmp_path, **{f"{ID}.key": KEY})
    os.environ.pop("A_TOKEN", None)
    assert in_process("mcp", "import", file) == 0
    capsys.readouterr()
    assert in_process("mcp", "import", file) == 0
    assert "Delete" not in capsys.readouterr().out


def test_what_cannot_be_read_is_told_and_the_server_is_imported(
    tmp_path: Path, capsys: Capture
) -> None:
    file = write(tmp_path, server("GitHub"))
    beside(tmp_path, **{f"{ID}.oauth": "no json", f"{ID}.key": " "})
    assert in_process("mcp", "import", file) == 0
    said = capsys.readouterr()
    assert said.err.count("was left out") == 2
    assert "patina keys set github/A_TOKEN" in said.out
