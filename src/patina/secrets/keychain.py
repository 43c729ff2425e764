"""The operating system's keychain, which may be missing, locked, slow or not what it seems.

`keyring` takes whatever back end is installed, plain files included: only those of the systems
themselves are used here, by name. Some of them wait for minutes for a D-Bus that does not answer:
each call has a thread of its own and a limit, and who has failed once is not asked again.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")

SERVICE: Final = "Patina secrets"
LIMIT_SECONDS: Final = 3.0
CHOICE: Final = "PYTHON_KEYRING_BACKEND"
_SESSION_BUS: Final = "DBUS_SESSION_BUS_ADDRESS"
# Best first; each is the system's own keychain, or speaks to one.
_BY_PLATFORM: Final[Mapping[str, tuple[str, ...]]] = {
    "darwin": ("keyring.backends.macOS.Keyring",),
    "win32": ("keyring.backends.Windows.WinVaultKeyring",),
    "linux": (
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.libsecret.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
    ),
}
ALLOWED: Final = frozenset(name for names in _BY_PLATFORM.values() for name in names)


class NoKeychainError(Exception):
    """There is no keychain that can be used; the text completes "the keychain …"."""


class Keychain:
    """One entry by name at a time. Once it failed, it stays given up: `why` then says why.

    `environ` is the process's own: it says where the D-Bus is, and may name a back end. All
    methods block, `LIMIT_SECONDS` at most, and raise `NoKeychainError`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._backend: Any = None  # the libraries have no useful types
        self.why = ""

    def read(self, account: str) -> str | None:
        """Return an entry, None where there is none."""

        def work(backend: Any) -> str | None:  # noqa: ANN401 - see above
            found: str | None = backend.get_password(SERVICE, account)
            return found

        return self._bounded(work)

    def write(self, account: str, secret: str) -> None:
        """Keep an entry, and see that it is kept."""

        def work(backend: Any) -> bool:  # noqa: ANN401 - see above
            backend.set_password(SERVICE, account, secret)
            return bool(backend.get_password(SERVICE, account) == secret)

        if not self._bounded(work):
            self.why = "does not keep what it is given"
            raise NoKeychainError(self.why)

    def remove(self, account: str) -> None:
        """Remove an entry, where it is there."""

        def work(backend: Any) -> None:  # noqa: ANN401 - see above
            if backend.get_password(SERVICE, account) is not None:
                backend.delete_password(SERVICE, account)

        self._bounded(work)

    def _bounded(self, work: Callable[[Any], T]) -> T:
        if not self.why:
            self._look_first()
        if self.why:
            raise NoKeychainError(self.why)
        outcomes: SimpleQueue[tuple[T | None, str]] = SimpleQueue()

        def run() -> None:
            try:
                if self._backend is None:
                    self._backend = _open_backend(self._environ)
                outcomes.put((work(self._backend), ""))
            except NoKeychainError as error:
                outcomes.put((None, str(error)))
            except Exception as error:  # noqa: BLE001 - the boundary to whatever the system has
                outcomes.put((None, f"failed: {_words(error)}"))

        # Nothing can end a thread that waits for D-Bus; as a daemon it does not hold the process.
        threading.Thread(target=run, name="keychain", daemon=True).start()
        try:
            result, why = outcomes.get(timeout=LIMIT_SECONDS)
        except Empty:
            result, why = None, f"did not answer within {LIMIT_SECONDS:g} s"
        if why:
            self.why = why
            raise NoKeychainError(why)
        return result  # type: ignore[return-value]  # of `work`, where it did not fail

    def _look_first(self) -> None:
        """Give up where that can be seen without loading anything."""
        chosen = self._environ.get(CHOICE)
        if chosen and chosen not in ALLOWED:
            self.why = _refused(chosen, CHOICE)
        elif sys.platform not in ("darwin", "win32") and not self._environ.get(_SESSION_BUS):
            self.why = "cannot be reached: there is no D-Bus session"


def _open_backend(environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - as above
    """Return the back end that was chosen, else the first that works. Raises `NoKeychainError`."""
    chosen = environ.get(CHOICE) or _configured()
    names = (chosen,) if chosen else _BY_PLATFORM.get(sys.platform, _BY_PLATFORM["linux"])
    reasons = []
    for name in names:
        try:
            return _load(name)
        except (ImportError, AttributeError, RuntimeError) as error:
            reasons.append(_words(error))
    raise NoKeychainError(f"cannot be used: {reasons[0]}")


def _load(name: str) -> Any:  # noqa: ANN401 - as above
    from importlib import import_module

    module, _, attribute = name.rpartition(".")
    backend = getattr(import_module(module), attribute)
    _ = backend.priority  # raises where it cannot work here
    return backend()


def _configured() -> str:
    """Return the back end that keyring's own configuration names, "" where it names none."""
    import configparser

    from keyring.util import platform_

    file = configparser.RawConfigParser()
    path = platform_.config_root() / "keyringrc.cfg"
    try:
        file.read(path, encoding="utf-8")
        chosen = file.get("backend", "default-keyring", fallback="").strip()
    except (configparser.Error, UnicodeDecodeError, OSError):
        return ""
    if chosen and chosen not in ALLOWED:
        raise NoKeychainError(_refused(chosen, str(path)))
    return chosen


def _refused(name: str, where: str) -> str:
    return f"is not used: {where} names {name}, which is no keychain of an operating system"


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
