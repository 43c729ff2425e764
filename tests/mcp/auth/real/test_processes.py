"""One sign-in, and everything after it without a person: with `patina` in processes of its own.

The authorization server is `oidc-provider`. It rotates refresh tokens, and takes the whole grant
back when one is used twice: that everything still works is the proof that none was.
"""

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cli.model_server import model_server
from tests.mcp.auth.real.conftest import NAME, Desk, let_tokens_end
from tests.mcp.auth.real.person import Person

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="what the desktop opens is a shell script"
)

ONCE = ["login", "consent"]


def test_one_sign_in_outlives_processes_and_tokens(desk: Desk) -> None:  # P-09, P-19, A-49, M-24
    desk.add()
    desk.is_turned_away()
    desk.log_in()
    assert desk.prompts() == ONCE
    for _ in range(3):
        desk.reads()
        let_tokens_end()
    desk.reads()
    assert desk.prompts() == ONCE
    assert len(desk.pages()) == 1
    assert desk.given()[0] == "authorization_code"
    assert desk.given().count("refresh_token") >= 3
    assert not desk.trouble()
    assert {one["subject"] for one in desk.carried() if one["token"]} == {"ada"}
    assert all(one["good"] for one in desk.carried() if one["token"])


def test_processes_that_renew_at_once_use_each_refresh_token_once(desk: Desk) -> None:
    desk.add()
    desk.log_in()
    for _ in range(2):
        let_tokens_end()
        started = [desk.start_call(f"number{index}") for index in range(3)]
        ended = [process.communicate(timeout=60) for process in started]
        for index, (process, (out, err)) in enumerate(zip(started, ended, strict=True)):
            assert process.returncode == 0, (err, desk.told())
            assert f"read number{index}" in out
    assert not desk.trouble()
    assert desk.prompts() == ONCE
    assert len(desk.pages()) == 1


def test_a_grant_that_was_taken_back_needs_a_person_once(desk: Desk) -> None:
    desk.add()
    desk.log_in()
    desk.place.revoke()
    let_tokens_end()
    desk.is_turned_away()
    desk.is_turned_away()
    refused = [one for one in desk.trouble() if one["what"] == "refused"]
    assert [one["error"] for one in refused] == ["invalid_grant"]  # asked once, not each time
    desk.log_in()
    desk.reads()
    assert desk.prompts() == ONCE * 2
    assert len(desk.pages()) == 2


def test_signing_out_ends_the_grant_there_and_here(desk: Desk) -> None:
    desk.add()
    desk.log_in()
    done = desk.run("mcp", "logout", NAME)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Signed out of {NAME}.\n"
    what = [one["what"] for one in desk.told()]
    assert "revoked" in what
    assert "unregistered" in what
    assert not done.stderr
    desk.is_turned_away()
    assert len(desk.pages()) == 1


def test_a_model_uses_a_tool_whose_token_has_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.add()
    desk.log_in()
    let_tokens_end()
    with model_server() as model:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-canary-0123456789")
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        question = f'call {NAME}__read {{"text": "by a model"}}'
        done = desk.run("ask", question, "-m", "openai/one", "--approve", "all")
    assert done.returncode == 0, done.stderr
    assert "read by a model" in done.stdout
    assert desk.prompts() == ONCE
    assert not desk.trouble()


def test_a_tool_that_needs_more_scope(desk: Desk) -> None:
    desk.add()
    desk.log_in()
    assert _asked_for(desk) == {"mcp:read", "offline_access"}
    refused = desk.call("write", "this")
    assert refused.returncode == 4, (refused.stdout, refused.stderr)
    assert len(desk.pages()) == 1
    desk.log_in("--scope", "mcp:read mcp:write")
    assert {"mcp:read", "mcp:write"} <= _asked_for(desk)
    done = desk.call("write", "this")
    assert done.returncode == 0, done.stderr
    assert "wrote this" in done.stdout
    let_tokens_end()
    assert desk.call("write", "again").returncode == 0
    assert len(desk.pages()) == 2


def test_a_person_who_says_no(desk: Desk) -> None:
    desk.add()
    (desk.folder / "denies").touch()
    done = desk.run("mcp", "login", NAME)
    assert done.returncode != 0
    assert "Error: Authorization denied" in done.stderr
    assert not desk.given()
    (desk.folder / "denies").unlink()
    desk.log_in()
    desk.reads()


def test_a_person_far_away_pastes_the_address(desk: Desk) -> None:
    desk.add()
    command = [sys.executable, "-m", "patina", "mcp", "login", NAME, "--no-browser"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr
        page = next(
            word for line in process.stderr for word in line.split() if "code_challenge=" in word
        )
        address = Person().sign_in(page)
        out, err = process.communicate(f"{address}\n", timeout=60)
    assert process.returncode == 0, err
    assert "2 tools" in out
    assert not desk.pages()
    desk.reads()


def test_a_client_that_is_named_by_its_metadata(desk: Desk) -> None:
    name = "https://client.example/patina.json"
    desk.add("--client-metadata-url", name)
    desk.log_in()
    desk.reads()
    assert "registered" not in [one["what"] for one in desk.told()]
    assert parse_qs(urlsplit(desk.pages()[0]).query)["client_id"] == [name]
    let_tokens_end()
    desk.reads()
    assert desk.prompts() == ONCE


def test_a_machine_signs_in_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACHINE_SECRET", "secret-of-the-machine")
    machine = ("--client-id", "machine", "--client-secret", "env:MACHINE_SECRET")
    desk.add("--auth-mode", "client_credentials", *machine)
    desk.reads()
    let_tokens_end()
    desk.reads()
    assert set(desk.given()) == {"client_credentials"}
    assert not desk.prompts()
    assert not desk.pages()
    assert not desk.trouble()


def test_tokens_that_are_bound_to_a_key(bound_desk: Desk) -> None:
    bound_desk.add()
    bound_desk.log_in()
    bound_desk.reads()
    let_tokens_end()
    bound_desk.reads()
    assert {one["scheme"] for one in bound_desk.carried() if one["token"]} == {"DPoP"}
    assert "refresh_token" in bound_desk.given()
    assert bound_desk.prompts() == ONCE
    assert len(bound_desk.pages()) == 1


def test_nothing_of_a_sign_in_lies_open(desk: Desk, tmp_path: Path) -> None:  # A-50, M-24, C-10
    desk.add()
    desk.log_in()
    desk.reads()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"eyJ" not in kept  # how every JWT begins
    assert b"refresh_token" not in kept


def _asked_for(desk: Desk) -> set[str]:
    """The scopes of the page that was opened last."""
    return set(parse_qs(urlsplit(desk.pages()[-1]).query)["scope"][0].split())
