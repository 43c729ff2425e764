"""`patina keys`: values come in by prompt or pipe, and never come out."""

import json
import os
import sys
import time

import pytest
from tests.cli.support import home, patina


def test_set_list_remove() -> None:
    assert patina("keys", "list").stdout == ""
    done = patina("keys", "set", "openai", stdin="sk-canary\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    patina("keys", "set", "github/GITHUB_TOKEN", stdin="ghp-canary")
    listed = patina("keys", "list", "--json", variables={"HF_TOKEN": "hf-canary"})
    where = str(home() / "secrets.json")
    assert json.loads(listed.stdout) == [
        {"name": "github/GITHUB_TOKEN", "source": "file", "where": where},
        {"name": "openai", "source": "file", "where": where},
        {"name": "HF_TOKEN", "source": "environment", "where": "HF_TOKEN"},
    ]
    assert "canary" not in listed.stdout
    assert patina("keys", "list").stdout.splitlines()[1] == f"openai\tfile\t{where}"
    assert patina("keys", "remove", "openai").returncode == 0
    again = patina("keys", "remove", "openai")
    assert again.returncode == 2
    assert 'There is no kept secret "openai".' in again.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["set", "openai"], "", "No value for openai came in."),
        (["set", "openai"], " \n", "No value for openai came in."),
        (["set", "../x"], "v", "That is not a name for a secret."),
        (["set", "openai", "sk-canary"], "", "unexpected extra argument"),
        (["set", "openai"], "x" * 70_000, "The value is over 64000 characters."),
    ],
)
def test_what_is_refused(arguments: list[str], stdin: str, message: str) -> None:
    done = patina("keys", *arguments, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (home() / "secrets.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_the_prompt_hides_what_is_typed() -> None:
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "patina", "keys", "set", "openai"])
    shown = b""
    deadline = time.monotonic() + 60
    while b"Value of openai" not in shown and time.monotonic() < deadline:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"sk-canary-typed\n")
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:
        pass  # how Linux says that the other end is closed
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    os.close(terminal)
    assert b"canary" not in shown
    assert "sk-canary-typed" in (home() / "secrets.json").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_a_file_that_others_can_read_is_refused() -> None:
    patina("keys", "set", "openai", stdin="v")
    file = home() / "secrets.json"
    file.chmod(0o644)
    done = patina("keys", "list")
    assert done.returncode == 2
    assert f"Run: chmod 600 {file}" in done.stderr
