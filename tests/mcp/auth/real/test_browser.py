"""Signing in through a real browser: the pages of `oidc-provider` in Chromium, then our own."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import BrowserContext, Page, Route, sync_playwright
from tests.mcp.auth.real.conftest import NAME, Desk

CHROMIUM: Final = shutil.which("chromium")
FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS: Final = 60

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: ./test says how"),
    pytest.mark.skipif(sys.platform == "win32", reason="what the desktop opens is a shell script"),
]


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[BrowserContext]:
    """Chromium with a profile of its own, which reaches this machine and nothing else."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=list(FLAGS)
        )
        context.set_default_timeout(SECONDS * 1000)
        context.route("**/*", _of_this_machine)
        try:
            yield context
        finally:
            context.close()


def _of_this_machine(route: Route) -> None:
    if route.request.url.startswith("http://127.0.0.1:"):
        route.continue_()
    else:
        route.abort()


@pytest.fixture
def desktop(desk: Desk) -> Desk:
    """A desktop whose opener only notes the page: the browser of this test goes there."""
    desk.browser.write_text(f'#!/bin/sh\necho "$1" >> {desk.folder}/opened\n')
    desk.browser.chmod(stat.S_IRWXU)
    return desk


def test_signing_in_with_a_browser(desktop: Desk, chromium: BrowserContext) -> None:  # P-09, A-46
    desktop.add()
    with _logging_in(desktop) as login:
        page = chromium.pages[0]
        errors = _errors_of(page)
        page.goto(_opened(desktop))
        page.get_by_placeholder("Enter any login").fill("ada")
        page.get_by_placeholder("and password").fill("of-the-test")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_text("mcp:read").first.wait_for()
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url("http://127.0.0.1:*/**")
        page.get_by_text("You may close this window and go back to Patina.").wait_for()
        assert page.title().startswith("Signed in")
        _look_at_the_last_page(page, desktop, errors)
        out, err = login.communicate(timeout=SECONDS)
    assert login.returncode == 0, err
    assert "Connected" in out
    assert desktop.prompts() == ["login", "consent"]
    desktop.reads()
    assert len(desktop.pages()) == 1


def test_saying_no_in_the_browser(desktop: Desk, chromium: BrowserContext) -> None:
    desktop.add()
    with _logging_in(desktop) as login:
        page = chromium.pages[0]
        page.goto(_opened(desktop))
        page.get_by_text("Cancel").click()
        out, err = login.communicate(timeout=SECONDS)
    assert login.returncode != 0, out
    assert "Error: Authorization denied" in err


def _look_at_the_last_page(page: Page, desktop: Desk, errors: list[str]) -> None:
    """What Patina shows when the browser came back: a page without scripts, of nobody else."""
    shown = page.content()
    assert "<script" not in shown
    assert "code=" not in shown  # what brought us here is not shown
    assert desktop.place.issuer not in shown
    assert not errors
    policy = page.evaluate("() => fetch(location.href).then(a => a.status, () => 'refused')")
    assert policy == "refused"  # by its own policy, or because nobody listens any more


def _errors_of(page: Page) -> list[str]:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


@contextmanager
def _logging_in(desktop: Desk) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "patina", "mcp", "login", NAME],
        env={**os.environ, **desktop.variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # where the test failed it would wait for its two minutes


def _opened(desktop: Desk) -> str:
    """The page that Patina opened, once it did."""
    deadline = time.monotonic() + SECONDS
    while not desktop.pages():
        assert time.monotonic() < deadline, "no page was opened"
        threading.Event().wait(0.05)
    return desktop.pages()[-1]
