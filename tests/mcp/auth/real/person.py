"""A person at a browser without a window: signs in on the pages of `oidc-provider`.

    python person.py FOLDER ADDRESS

As the program of the desktop that opens pages, it writes each address it was given into
FOLDER/opened, and signs in there, if FOLDER/away does not exist. FOLDER/denies makes it say no.
"""

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Final

SECONDS: Final = 30
MOST_PAGES: Final = 20
_FORM: Final = re.compile(r'<form[^>]* action="([^"]+)"')
_CANCEL: Final = re.compile(r'href="([^"]+/abort)"')


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Person:
    """Somebody with the cookies of one browser."""

    def __init__(self, name: str = "ada") -> None:
        self._name = name
        # No proxy of the environment: everything is on this machine.
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(CookieJar()),
            _NoRedirects(),
        )

    def sign_in(self, address: str, *, denies: bool = False) -> str:
        """Do what the pages from `address` on ask for; where they send the browser in the end."""
        origin = _origin(address)
        form: dict[str, str] | None = None
        for _ in range(MOST_PAGES):
            page, goes_to = self._ask(address, form)
            form = None
            if goes_to:
                address = urllib.parse.urljoin(address, goes_to)
                if _origin(address) != origin:
                    return address
            elif denies:
                address = urllib.parse.urljoin(address, _found(_CANCEL, page))
            elif 'name="login"' in page:
                address = urllib.parse.urljoin(address, _found(_FORM, page))
                form = {"prompt": "login", "login": self._name, "password": "of-the-test"}
            else:
                address = urllib.parse.urljoin(address, _found(_FORM, page))
                form = {"prompt": "consent"}
        raise AssertionError(f"more than {MOST_PAGES} pages, the last one {address}")

    def visit(self, address: str) -> str:
        """Return what one page says."""
        return self._ask(address, None)[0]

    def _ask(self, address: str, form: dict[str, str] | None) -> tuple[str, str]:
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            with self._browser.open(address, body, SECONDS) as answer:
                return answer.read().decode(), ""
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (302, 303):
                    return "", error.headers["Location"]
                raise AssertionError(f"{address}: {error.code} {error.read()[:2000]!r}") from None


def _origin(address: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(address)
    return parts.scheme, parts.netloc


def _found(pattern: re.Pattern[str], page: str) -> str:
    found = pattern.search(page)
    assert found, page
    return found[1]


def main(folder: Path, address: str) -> None:
    with (folder / "opened").open("a", encoding="utf-8") as opened:
        opened.write(f"{address}\n")
    if not (folder / "away").exists():
        person = Person()
        person.visit(person.sign_in(address, denies=(folder / "denies").exists()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
