"""Secrets of every kind go through everything that Patina does, and turn up nowhere.

The stand-ins repeat whatever they are given, in every form and at every opportunity.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.canary import flows
from tests.canary.canaries import CANARIES, canaries_in
from tests.canary.flows import Evidence
from tests.canary.leaky_web import leaky_web

from patina.assembly.log import JsonLinesHandler
from patina.cli.context import Context
from patina.secrets.redact import Redactor

# Where secrets are kept, and what a person wrote them into.
KEPT = {"secrets.enc", "key", ".env", "canary.key", "config.toml"}
# What each server is given, and is to repeat: else the search would prove nothing.
OF_LEAKY = {"variable of a server", "key file", "private key", "odd key"}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("canary")
    home = folder / "home"
    with leaky_web() as web, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATINA_HOME", str(home))
        patch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")  # no keychain of this machine
        flows.configure(home, web.url)
        found = Evidence(home, web)
        run = Context()
        flows.keep_secrets(run)
        flows.sign_in(run, web.url)
        flows.converse(found)
        flows.talk(found)
        flows.take_over(found, folder)
        flows.rename(found)
        flows.inspect(found)
        flows.export(found, folder / "exported")
        yield found


def test_the_commands_work_and_the_servers_know_the_secrets(evidence: Evidence) -> None:
    assert evidence.refused == []
    carried = repr(evidence.web.carried)
    for canary in ("bearer of a header", "access token", "key of the vault", "key of .env"):
        assert CANARIES[canary] in carried, canary
    assert CANARIES["key of the environment"] in carried
    environs = b"\0".join(
        value.encode() for _, environ in evidence.children.values() for value in environ.values()
    )
    assert set(canaries_in(environs)) == OF_LEAKY


def test_no_file_has_a_secret(evidence: Evidence) -> None:  # M-24 M-29 C-10
    hits = []
    for folder, _, names in os.walk(evidence.home):
        for name in names:
            path = Path(folder) / name
            if name not in KEPT:
                hits += [f"{path}: {one}" for one in canaries_in(path.read_bytes())]
    assert hits == []
    found = {path.name for path in evidence.home.rglob("*")}
    assert {"patina.log", "leaky.log", "secrets.enc"} <= found  # there was something to search


def test_the_vault_tells_nothing_without_its_key(evidence: Evidence) -> None:  # M-24
    assert canaries_in((evidence.home / "data" / "secrets.enc").read_bytes()) == []


def test_nothing_that_is_printed_has_a_secret(evidence: Evidence) -> None:
    hits = [f"{name}: {found}" for name, data in evidence.said for found in canaries_in(data)]
    assert hits == []
    said = b"".join(data for _, data in evidence.said)
    assert said.count(b"***") > 20


def test_nothing_that_is_exported_has_a_secret(evidence: Evidence) -> None:
    hits = [
        f"{name}: {one}" for name, data in evidence.exported.items() for one in canaries_in(data)
    ]
    assert hits == []
    assert {name.partition("/")[0] for name in evidence.exported} == {"jsonl", "md", "html", "json"}


def test_an_archive_has_no_secret(evidence: Evidence) -> None:
    import tarfile

    with tarfile.open(evidence.home.parent / "exported" / "backup.tar.gz") as archive:
        members = [one for one in archive.getmembers() if one.isfile()]
        assert len(members) > 5
        for one in members:
            file = archive.extractfile(one)
            assert file is not None
            assert canaries_in(file.read()) == [], one.name
            assert one.name.rpartition("/")[2] not in KEPT


def test_models_are_told_no_secret(evidence: Evidence) -> None:
    hits = [one for body in evidence.web.bodies for one in canaries_in(body)]
    assert hits == []
    assert b"I was told" not in b"".join(evidence.web.bodies[:1])


def test_no_address_has_a_secret(evidence: Evidence) -> None:
    assert [one for line in evidence.web.asked for one in canaries_in(line)] == []


def test_a_process_is_given_its_own_secrets_and_none_in_its_arguments(  # A-11 P-09
    evidence: Evidence,
) -> None:
    assert evidence.children
    servers = 0
    for argv, environ in evidence.children.values():
        assert canaries_in("\0".join(argv).encode()) == []
        found = set(canaries_in("\0".join(environ.values()).encode()))
        if "LEAK_TOKEN" in environ:
            servers += 1
            assert found == OF_LEAKY
        else:
            assert not found, argv
    assert servers


def test_each_server_is_sent_its_own_secrets_alone(evidence: Evidence) -> None:  # P-05 P-09
    allowed = {
        "/mcp": {"bearer of a header", "access token", "password of an address", "odd key"},
        "/broken": {"bearer of a header"},
        "/denied": {"bearer of a header", "client secret", "refresh token"},
        "/v1": {"key of the vault", "key of the environment", "key of .env"},
        "/no": {"key of the vault"},
    }
    for path, headers in evidence.web.carried:
        found = set(canaries_in("\0".join(headers.values()).encode()))
        prefix = "/" + path.split("/")[1]
        assert found <= allowed[prefix], path


def test_a_traceback_in_the_log_has_no_secret_and_no_values(tmp_path: Path) -> None:  # M-29
    redactor = Redactor(CANARIES.values())
    handler = JsonLinesHandler(tmp_path / "patina.log", redactor)
    logger = logging.Logger("canary")
    logger.addHandler(handler)

    def fail(unsaid: str) -> None:
        raise ValueError(f"{'x' * 63_980} {' '.join(CANARIES.values())}")

    value = "-".join(("a", "value", "nobody", "asked", "for"))
    try:
        fail(value)
    except ValueError:
        logger.exception("failed with %s", CANARIES, extra={"data": CANARIES})
    handler.close()
    written = (tmp_path / "patina.log").read_bytes()
    assert canaries_in(written) == []
    assert b"sk-canary" not in written  # not even a piece, where the text was cut
    assert value.encode() not in written
    assert b"in fail" in written
