"""A real Secret Service, with a D-Bus and a home of its own: gnome-keyring, unlocked."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

PROGRAMS: Final = ("dbus-daemon", "dbus-send", "gnome-keyring-daemon")
SECONDS: Final = 20.0
_LONGEST_SOCKET = 100  # bytes; the system's limit is 108 or 104
_SILENT = """\
import time
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection
bus = open_dbus_connection()
bus.send_and_get_reply(message_bus.RequestName("org.freedesktop.secrets"))
time.sleep(600)
"""
_OWNER = "org.freedesktop.DBus.NameHasOwner"


def missing() -> str:
    """Say what this machine lacks for one, "" where it has all."""
    if os.name != "posix":
        return "the Secret Service is for Linux"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(lacking)} (Debian: dbus, gnome-keyring)" if lacking else ""


@contextmanager
def secret_service(
    folder: Path, password: str = "a password", *, silent: bool = False
) -> Iterator[Mapping[str, str]]:
    """Run one with all its files below `folder`; give the variables that lead to it.

    A `silent` one has the name on the D-Bus, and never answers.
    """
    home, run = folder / "home", folder / "run"
    for each in (home, run):
        each.mkdir(mode=0o700, parents=True)
    socket = run / "bus"
    assert len(str(socket)) < _LONGEST_SOCKET, "the folder's name is too long for a socket"
    variables = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(run),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={socket}",
    }
    environ = {**os.environ, **variables}
    bus = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={socket}"]
    keyring = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
    if silent:
        keyring = [sys.executable, "-c", _SILENT]
    with (folder / "log").open("wb") as log, _running(bus, environ, log):
        _wait(socket.exists)
        with _running(keyring, environ, log) as service:
            assert service.stdin is not None
            service.stdin.write(password.encode())
            service.stdin.close()
            _wait(lambda: _owned("org.freedesktop.secrets", environ))
            yield variables


@contextmanager
def _running(
    command: list[str], environ: Mapping[str, str], log: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _owned(name: str, environ: Mapping[str, str]) -> bool:
    ask = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
    done = subprocess.run(
        [*ask, _OWNER, f"string:{name}"], env=environ, capture_output=True, timeout=SECONDS
    )
    return b"boolean true" in done.stdout


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < deadline, "the Secret Service did not start"
        time.sleep(0.01)
