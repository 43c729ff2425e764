"""The key in the operating system's keychain: a real one, none, a silent one, a false one."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.support import home, patina
from tests.secrets.secret_service import missing, secret_service

ROOT = Path(__file__).parents[2]
NO_SERVICE = pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")
LINUX = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="D-Bus is for Linux")

FALSE = """\
from keyring.backend import KeyringBackend

class Plain(KeyringBackend):
    '''Keeps what it is given where everybody can read it.'''
    priority = 99
    kept = {}
    def get_password(self, service, username):
        return self.kept.get(username)
    def set_password(self, service, username, password):
        self.kept[username] = password
        open("plain.txt", "a").write(password)
"""

# What a process finds that asks twice: why not, and how long each time took.
ASK_TWICE = """\
import json, os, time
from patina.secrets.keychain import Keychain, NoKeychainError
keychain = Keychain(os.environ)
found = []
for _ in range(2):
    began = time.monotonic()
    try:
        found.append(["read", keychain.read("none")])
    except NoKeychainError as error:
        found.append([str(error), time.monotonic() - began])
print(json.dumps(found))
"""

# How long it takes to open what is kept, and then to ask for it and to mask.
OPEN_KEPT = """\
import json, time
from patina.cli.context import Context
from patina.model.faults import ConfigFault
run = Context()
began = time.monotonic()
run.open_kept()
opened = time.monotonic()
try:
    run.keys.get("far/KEY")
except ConfigFault as fault:
    why = str(fault)
run.redactor.known("a text that is-as-if-1-secret-were-in-it")
print(json.dumps([opened - began, why, time.monotonic() - opened]))
"""


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test says which keychain there is."""
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@contextmanager
def running(*, silent: bool = False) -> Iterator[Mapping[str, str]]:
    # A short name: sockets have short ones only.
    with (
        tempfile.TemporaryDirectory(prefix="pt") as folder,
        secret_service(Path(folder), silent=silent) as variables,
    ):
        yield variables


@pytest.fixture(scope="module")
def service() -> Iterator[Mapping[str, str]]:
    with running() as variables:
        yield variables


def run(service: Mapping[str, str], *arguments: str, stdin: str = "") -> str:
    done = patina(*arguments, stdin=stdin, variables=dict(service))
    assert done.returncode == 0, done.stderr
    return done.stdout


def entries(service: Mapping[str, str]) -> list[str]:
    """What is in the real keychain, by a program that is not ours."""
    code = (
        "import json, secretstorage\n"
        "from contextlib import closing\n"
        "with closing(secretstorage.dbus_init()) as bus:\n"
        "    collection = secretstorage.get_default_collection(bus)\n"
        "    items = collection.search_items({'service': 'Patina secrets'})\n"
        "    print(json.dumps([item.get_secret().decode() for item in items]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **service},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


@NO_SERVICE
def test_a_real_keychain(service: Mapping[str, str]) -> None:  # M-24 A-06
    assert "This computer has a keychain that can be used." in run(service, "keys", "status")
    run(service, "keys", "set", "openai", stdin="sk-canary-0123456789")
    status = json.loads(run(service, "keys", "status", "--json"))
    assert (status["home"], status["state"]) == ("keychain", "open")
    assert "in the keychain of this computer" in status["text"]
    assert not (home() / "key").exists()
    (key,) = entries(service)
    assert len(key) == 44
    assert key.encode() not in b"".join(p.read_bytes() for p in home().rglob("*") if p.is_file())
    # Replaced, moved out and back: there is never more than the one in use.
    run(service, "keys", "rotate")
    (replaced,) = entries(service)
    assert replaced != key
    run(service, "keys", "protect", "file")
    assert entries(service) == []
    run(service, "keys", "protect", "keychain")
    assert len(entries(service)) == 1
    assert not (home() / "key").exists()
    found = json.loads(run(service, "doctor", "--json", "--offline"))
    (secrets,) = [finding for finding in found if finding["subject"] == "secrets"]
    assert secrets["status"] == "ok"
    assert "the keychain of this computer" in secrets["text"]


@NO_SERVICE
def test_a_file_from_another_computer(
    service: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(service, "keys", "set", "openai", stdin="sk-canary-0123456789")
    before = (home() / "data/secrets.enc").read_bytes()
    with running() as other:
        done = patina("keys", "set", "openai", stdin="new", variables=dict(other))
    assert done.returncode == 2
    assert "they are from another computer" in done.stderr
    assert "patina keys protect passphrase" in done.stderr
    # And where there is no keychain at all.
    done = patina("keys", "status")
    assert done.returncode == 1
    assert "The keychain cannot be reached: there is no D-Bus session." in done.stdout
    assert (home() / "data/secrets.enc").read_bytes() == before
    assert not (home() / "key").exists()
    # What needs no kept key goes on, and says what it goes without.
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    (home() / "cache/key_names.json").unlink()
    done = patina("config", "get", "providers.openai.api_key")
    assert (done.returncode, done.stdout) == (0, "env:OPENAI_API_KEY\n")
    assert "The kept keys cannot be used. The keychain cannot be reached" in done.stderr


@NO_SERVICE
def test_a_keychain_that_is_locked() -> None:
    """Nobody is there to unlock it: the key goes into a file, and that is said."""
    lock = (
        "import secretstorage; bus = secretstorage.dbus_init();"
        "secretstorage.get_default_collection(bus).lock(); bus.close()"
    )
    with running() as variables:
        environ = {**os.environ, **variables}
        subprocess.run([sys.executable, "-c", lock], env=environ, check=True, timeout=60)
        began = time.monotonic()
        done = patina("keys", "set", "openai", stdin="sk", variables=dict(variables))
        assert time.monotonic() - began < 8
        assert done.returncode == 0, done.stderr
        status = patina("keys", "status", variables=dict(variables))
    assert (home() / "key").exists()
    assert "The keychain " in status.stdout
    assert "can be used" not in status.stdout


@LINUX
def test_without_any_dbus() -> None:
    patina("keys", "set", "openai", stdin="sk-canary-0123456789")
    assert (home() / "key").exists()
    status = patina("keys", "status")
    assert "The keychain cannot be reached: there is no D-Bus session." in status.stdout
    assert "protects backups, synced copies and accidental reads only" in status.stdout
    done = patina("keys", "protect", "keychain")
    assert done.returncode == 2
    assert "The keychain cannot be reached: there is no D-Bus session." in done.stderr
    assert "Nothing was changed." in done.stderr
    nowhere = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/no/such/bus"}
    status = patina("keys", "status", variables=nowhere)
    assert status.returncode == 0
    assert "The keychain " in status.stdout


def ask_twice(folder: Path, **variables: str) -> list[list[str | float]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK_TWICE],
        env={**os.environ, "PYTHONPATH": str(folder), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str | float]] = json.loads(done.stdout)
    return found


@NO_SERVICE
def test_a_service_that_never_answers(tmp_path: Path) -> None:
    with running(silent=True) as variables:
        (why, took), (still, again) = ask_twice(tmp_path, **variables)
        assert why == still == "did not answer within 3 s"
        assert 2.9 < float(took) < 4.5
        assert float(again) < 0.1
        began = time.monotonic()
        done = patina("keys", "set", "openai", stdin="sk", variables=dict(variables))
        assert time.monotonic() - began < 8
    assert done.returncode == 0, done.stderr
    assert (home() / "key").exists()


@NO_SERVICE
def test_an_app_that_lives_on_waits_for_a_silent_keychain_once_and_before_it_starts(
    service: Mapping[str, str],
) -> None:
    run(service, "keys", "set", "far/KEY", stdin="sk-canary-0123456789")
    reference = "Authorization=Bearer secret:far/KEY"
    run(service, "mcp", "add", "far", "--url", "https://a.example/mcp", "--header", reference)
    with running(silent=True) as silent:
        done = subprocess.run(
            [sys.executable, "-c", OPEN_KEPT],
            env={**os.environ, **silent},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    before, why, after = json.loads(done.stdout)
    assert 2.9 < before < 4.5
    assert "did not answer within 3 s" in why
    assert after < 0.5


@LINUX
def test_a_dbus_that_never_answers(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="pt") as folder,
        socket.socket(socket.AF_UNIX) as silent,
    ):
        silent.bind(f"{folder}/bus")
        silent.listen(8)
        bus = f"unix:path={folder}/bus"
        (why, took), (still, again) = ask_twice(tmp_path, DBUS_SESSION_BUS_ADDRESS=bus)
    assert why == still
    assert float(took) < 4.5
    assert float(again) < 0.1


@pytest.mark.parametrize("way", ["variable", "file", "installed"])
def test_a_plain_text_back_end_is_never_used(tmp_path: Path, way: str) -> None:
    (tmp_path / "false_keychain.py").write_text(FALSE)
    variables = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    if way == "variable":
        variables["PYTHON_KEYRING_BACKEND"] = "false_keychain.Plain"
    if way == "file":
        if sys.platform in ("win32", "darwin"):
            pytest.skip("keyring's own file is elsewhere there")
        rc = tmp_path / "config/python_keyring/keyringrc.cfg"
        rc.parent.mkdir(parents=True)
        rc.write_text("[backend]\ndefault-keyring=false_keychain.Plain\n")
        variables["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/no/such/bus"
    if way == "installed":
        metadata = tmp_path / "false-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: false\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text("[keyring.backends]\nfalse = false_keychain\n")
        variables["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/no/such/bus"
    # Without Patina's list it would be taken.
    check = "import keyring; print(type(keyring.get_keyring()).__name__)"
    taken = subprocess.run(
        [sys.executable, "-c", check],
        env={**os.environ, "PYTHONPATH": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert taken.stdout == "Plain\n", taken.stderr
    (why, _), (still, again) = ask_twice(tmp_path, **variables)
    assert why == still
    if way != "installed":
        assert "names false_keychain.Plain, which is no keychain of an operating system" in str(why)
    assert float(again) < 0.1
    given = {**variables, "PYTHONPATH": str(tmp_path)}
    assert patina("keys", "set", "openai", stdin="sk", variables=given).returncode == 0
    assert (home() / "key").exists()
    assert not list(tmp_path.rglob("plain.txt"))
