"""`patina doctor`: every finding, and the exit code."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.cli.model_server import model_server
from tests.cli.support import home, in_process, patina
from tests.cli.test_models import configure, free_port

from patina.cli.doctor import folder_finding

Capture = pytest.CaptureFixture[str]
Found = dict[str, dict[str, str]]


def doctor(capsys: Capture, *arguments: str, code: int = 0) -> Found:
    """The findings by subject."""
    capsys.readouterr()
    assert in_process("doctor", "--json", *arguments) == code
    findings = json.loads(capsys.readouterr().out)
    assert all(set(finding) == {"subject", "status", "text", "hint"} for finding in findings)
    assert (code == 1) is any(finding["status"] == "error" for finding in findings)
    return {finding["subject"]: finding for finding in findings}


def write(text: str) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(text)


def test_a_fresh_machine(capsys: Capture) -> None:
    found = doctor(capsys, "--offline")
    assert list(found) == [
        *("patina", "config folder", "data folder", "state folder", "cache folder", "disk"),
        *("secrets", "configuration", "spending", "default model", "log"),
    ]
    assert "made when something is written" in found["data folder"]["text"]
    assert "the defaults are in force" in found["configuration"]["text"]
    assert found["default model"]["text"] == "demo/demo (chosen from what is available)"
    assert in_process("doctor", "--offline") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    patina: ")
    assert not home().exists()  # looking leaves nothing behind


def test_a_configuration_that_is_wrong(capsys: Capture) -> None:
    write("default_model = 3\n")
    found = doctor(capsys, code=1)
    assert found["configuration"]["status"] == "error"
    assert "config.toml line 1: default_model" in found["configuration"]["text"]
    assert found["configuration"]["hint"]
    assert in_process("doctor") == 1
    assert "FAIL  configuration: config.toml line 1" in capsys.readouterr().out
    write("version = 1\n")
    (home() / "settings.toml").write_text("version = 1\n")
    assert "Both" in doctor(capsys, code=1)["configuration"]["text"]


def test_what_protects_the_secrets(capsys: Capture) -> None:
    assert "None are kept yet." in doctor(capsys, "--offline")["secrets"]["text"]
    patina("keys", "set", "openai", stdin="sk-canary-0123456789")
    found = doctor(capsys, "--offline")["secrets"]
    assert found["status"] == "ok"
    assert "protects backups, synced copies and accidental reads only" in found["text"]
    assert "patina keys protect keychain" in found["hint"]
    phrase = {"PATINA_PASSPHRASE": "a phrase of words"}
    patina("keys", "protect", "passphrase", variables=phrase)
    found = doctor(capsys, "--offline")["secrets"]
    assert found["status"] == "warning"
    assert "their passphrase is needed" in found["text"]
    (home() / "data/secrets.enc").write_bytes(b"")
    found = doctor(capsys, "--offline", code=1)["secrets"]
    assert (found["status"], "is damaged" in found["text"]) == ("error", True)


def test_places_of_keys_that_cannot_be_read(capsys: Capture) -> None:
    home().mkdir(parents=True)
    (home() / "key_origins.json").write_text("{")
    assert in_process("doctor", "--json", "--offline") == 1
    found = {row["subject"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["configuration"]["status"] == "error"
    assert "key_origins.json is damaged." in found["configuration"]["text"]
    assert "log" in found, "the report goes on"


def test_keys_that_are_not_settings_are_warned_of(capsys: Capture) -> None:
    write("defualt_model = 'demo/demo'\n")
    found = doctor(capsys, "--offline")
    assert found["configuration"]["status"] == "warning"
    assert "Did you mean default_model?" in found["configuration"]["text"]


def test_providers_that_answer_and_that_do_not(capsys: Capture) -> None:
    with model_server() as server, model_server(models=("only",)) as other:
        down = f"http://127.0.0.1:{free_port()}/v1"
        configure(near=server.url, single=other.url, down=down)
        with (home() / "config.toml").open("a") as file:
            file.write('[providers.off]\nkind = "openai"\nenabled = false\n')
        found = doctor(capsys, code=1)
        assert found["provider near"]["text"] == f"{server.url}, 2 models"
        assert found["provider single"]["text"] == f"{other.url}, 1 model"
        assert found["provider off"]["text"] == "switched off"
        assert found["provider down"]["status"] == "error"
        assert "cannot be reached" in found["provider down"]["text"]
        assert found["provider down"]["hint"]
        asked = len(server.requests)
        found = doctor(capsys, "--offline")
        assert len(server.requests) == asked
        assert "offline" in found["provider near"]["text"].lower()


def test_a_key_that_is_missing_or_cannot_be_used_now(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[providers.openai]\nkind = "openai"\n[providers.mine]\nkind = "openai"\n'
          'base_url = "http://127.0.0.1:9/v1"\napi_key = "secret:mine"\n')  # fmt: skip
    found = doctor(capsys, code=1)
    assert "OPENAI_API_KEY" in found["provider openai"]["text"]
    assert "mine" in found["provider mine"]["text"]
    assert found["default model"]["status"] == "warning"
    write("version = 1\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-key-0123456789")
    monkeypatch.setenv("GROQ_API_KEY", "canary-key-0123456789")
    found = doctor(capsys, "--offline")
    for name in ("anthropic", "groq"):  # known by its key alone
        assert found[f"provider {name}"]["status"] == "warning"
        assert "needs the network" in found[f"provider {name}"]["text"]


def test_servers(capsys: Capture, tmp_path: Path) -> None:
    demo = f'command = {json.dumps(sys.executable)}\nargs = ["-m", "patina.mcp.demo_server"]\n'
    write(
        f"[mcp_servers.new]\n{demo}"
        f"[mcp_servers.off]\nenabled = false\n{demo}"
        '[mcp_servers.gone]\ncommand = "no-such-program"\n'
        '[mcp_servers.far]\ntransport = "sse"\nurl = "https://a.example/sse"\n'
        '[mcp_servers.keyed]\ntransport = "sse"\nurl = "https://a.example/sse"\n'
        'headers = { Authorization = "Bearer secret:nothing" }\n'
    )
    command = ("--", sys.executable, "-m", "patina.mcp.demo_server")
    for name, *options in (
        ("good",),
        ("keyless", "--env", "A_KEY=secret:nothing"),
        ("unset", "--env", "A_KEY=env:NOT_SET_ANYWHERE"),
        ("unread", "--env", f"A_KEY=keyfile:{tmp_path / 'nothing'}"),
        ("homeless", "--cwd", str(tmp_path)),
    ):
        assert in_process("mcp", "add", *options, name, *command) == 0
    text = (home() / "config.toml").read_text()
    (home() / "config.toml").write_text(text.replace(f'cwd = "{tmp_path}"', 'cwd = "/no/such"'))
    assert in_process("mcp", "trust", "homeless", "--yes") == 0
    assert in_process("mcp", "tools", "good") == 0
    found = doctor(capsys, code=1)
    expected = {
        "good": ("ok", "may start, 4 tools when last seen"),
        "off": ("ok", "disabled"),
        "new": ("warning", "not yet allowed to start"),
        "far": ("ok", "https://a.example/sse, never connected"),
        "keyed": ("error", "no secret nothing for the header Authorization"),
        "gone": ("error", "no program no-such-program"),
        "keyless": ("error", "no secret nothing for A_KEY"),
        "unset": ("error", "no NOT_SET_ANYWHERE for A_KEY"),
        "unread": ("error", "key file"),
        "homeless": ("error", "/no/such"),
    }
    for name, (status, says) in expected.items():
        finding = found[f"MCP server {name}"]
        assert (finding["status"], says in finding["text"]) == (status, True), finding
        assert finding["hint"] or status == "ok"
    assert "patina mcp trust new" in found["MCP server new"]["hint"]
    # It started none of them.
    assert [path.name for path in home().glob("state/logs/mcp/*")] == ["good.log"]


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for name, status in (("data", "error"), ("config", "error"), ("state", "warning")):
        finding = folder_finding(name, file / "below")
        assert finding.status == status
        assert "cannot be written to" in finding.text
        assert "PATINA_HOME" in finding.hint
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.name == "posix" and os.geteuid() != 0:  # root may write anywhere
        assert folder_finding("data", closed).status == "error"
        assert folder_finding("data", closed / "new").status == "error"
    assert folder_finding("data", tmp_path / "new" / "er").status == "ok"
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_no_folder_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    done = patina("doctor", "--json", variables={"PATINA_HOME": str(tmp_path / "file")})
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    found = {finding["subject"]: finding for finding in found}
    assert found["data folder"]["status"] == "error"


def test_no_key_is_shown(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    assert in_process("doctor") == 1
    said = capsys.readouterr()
    assert "provider openai" in said.out
    assert "sk-canary" not in said.out + said.err
