"""A real authorization server, a real protected server, and `patina` in processes of its own."""

import json
import os
import shlex
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.cli.support import patina
from tests.stand_ins import listening, oidc_provider

HERE: Final = Path(__file__).parent
# Seconds that access tokens live: short, for what ends is what the tests are about.
LIFE: Final = 2
NAME: Final = "guarded"


class Place(NamedTuple):
    """A protected server, and who signs people in to it."""

    issuer: str
    url: str

    def told(self) -> list[dict[str, Any]]:
        """Everything that the authorization server saw, oldest first."""
        return _asked(f"{self.issuer}/test/told")

    def carried(self) -> list[dict[str, Any]]:
        """What every request to the protected server carried, oldest first."""
        return _asked(self.url.replace("/mcp", "/test/told"))

    def revoke(self) -> None:
        """Take back all that was ever granted, as on a page of an account."""
        request = urllib.request.Request(f"{self.issuer}/test/revoke", method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass


def _asked(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        told = json.load(answer)
    assert isinstance(told, list)
    return told


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    with _place() as made:
        yield made


@pytest.fixture(scope="session")
def bound_place() -> Iterator[Place]:
    """One whose tokens are bound to a key (RFC 9449)."""
    with _place("dpop") as made:
        yield made


@contextmanager
def _place(*kinds: str) -> Iterator[Place]:
    with oidc_provider(HERE / "authorization_server.mjs", LIFE, *kinds) as issuer:
        script = str(HERE / "protected_server.py")
        with listening(lambda port: [sys.executable, script, str(port), issuer, *kinds]) as origin:
            yield Place(issuer, f"{origin}/mcp")


class Desk:
    """A person at a desktop, and the `patina` processes that they start.

    What opens pages there is `person.py`. The servers are shared by all tests: `told` and
    `carried` begin where this desk did.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder = folder
        self.place = place
        self._told = len(place.told())
        self._carried = len(place.carried())
        self.browser = folder / "browser"
        program = " ".join(map(shlex.quote, (sys.executable, str(HERE / "person.py"), str(folder))))
        self.browser.write_text(f'#!/bin/sh\n{program} "$1" > {folder}/person.log 2>&1 &\n')
        self.browser.chmod(stat.S_IRWXU)
        self.variables = {"BROWSER": f"{self.browser} %s"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return patina(*arguments, variables=self.variables)

    def add(self, *options: str) -> None:
        added = self.run("mcp", "add", NAME, "--url", self.place.url, *options)
        assert added.returncode == 0, added.stderr

    def log_in(self, *options: str) -> subprocess.CompletedProcess[str]:
        done = self.run("mcp", "login", NAME, *options)
        assert done.returncode == 0, (done.stdout, done.stderr, self.told())
        return done

    def start_call(self, text: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "patina", *_call("read", text)],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def call(self, tool: str, text: str) -> subprocess.CompletedProcess[str]:
        return self.run(*_call(tool, text))

    def reads(self) -> None:
        """See that a process that is started now gets in."""
        done = self.call("read", "this")
        assert done.returncode == 0, (done.stderr, self.told())
        assert "read this" in done.stdout

    def is_turned_away(self) -> None:
        """See that one is told to sign in, and that no page is opened for that."""
        before = self.pages()
        done = self.call("read", "this")
        assert done.returncode == 4, (done.stdout, done.stderr)
        assert f"Server {NAME} wants you to sign in." in done.stderr
        assert f"patina mcp login {NAME}" in done.stderr
        assert self.pages() == before

    def pages(self) -> list[str]:
        """The pages that Patina opened."""
        path = self.folder / "opened"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def told(self) -> list[dict[str, Any]]:
        return self.place.told()[self._told :]

    def carried(self) -> list[dict[str, Any]]:
        return self.place.carried()[self._carried :]

    def prompts(self) -> list[str]:
        """What the authorization server asked the person for."""
        return [one["prompt"] for one in self.told() if one["what"] == "prompt"]

    def given(self) -> list[str]:
        """By what grants tokens were given."""
        return [one["grant"] for one in self.told() if one["what"] == "tokens"]

    def trouble(self) -> list[dict[str, Any]]:
        """What the authorization server refused or took back, and where it broke."""
        return [one for one in self.told() if one["what"] in ("refused", "revoked", "broken")]


def _call(tool: str, text: str) -> tuple[str, ...]:
    return ("mcp", "call", NAME, tool, f"text={text}", "--approve", "all")


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(tmp_path, place)


@pytest.fixture
def bound_desk(bound_place: Place, tmp_path: Path) -> Desk:
    return Desk(tmp_path, bound_place)


def let_tokens_end() -> None:
    """Return when no access token that was given before serves any more."""
    threading.Event().wait(LIFE)
