"""`ask` with the provider's key among the secrets, beside one with it in the environment."""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.processes import PYTHON, Program, compare, mock_server
from bench.table import Row

PHRASE = {"PATINA_PASSPHRASE": "a phrase of words"}
ENVIRONMENT = "key in the environment"
SEALED = "key in the environment, others among the secrets"
FILE = "secrets, their key in a file"
PASSPHRASE = "secrets, their key from a passphrase"
KEYCHAIN = "secrets, their key in a keychain"
# Seconds of CPU more than with the key in the environment.
LIMITS = {SEALED: None, FILE: 0.05, PASSPHRASE: None, KEYCHAIN: 0.2}


def rows(entry: Path, rounds: int, progress: Callable[[], None]) -> list[Row]:
    """Return what each way of keeping the key costs. `entry` is the program.

    The keychain is a real Secret Service, where the machine has what it needs.
    """
    with ExitStack() as stack:
        # A short name: sockets have short ones only.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pb")))
        port = stack.enter_context(mock_server(200))
        base = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        given = {**base, "OPENAI_API_KEY": "none"}
        service = stack.enter_context(_secret_service(folder))
        ways: dict[str, Mapping[str, str]] = {
            ENVIRONMENT: given,
            SEALED: given,
            FILE: base,
            PASSPHRASE: {**base, **PHRASE},
        }
        if service:
            ways[KEYCHAIN] = {**base, **service}
        programs = {}
        for number, (name, environ) in enumerate(ways.items()):
            own = {"PATINA_HOME": str(folder / f"home{number}"), **environ}
            _keep(name, own)
            command = (PYTHON, str(entry), "ask", "-m", "openai/gpt-5.2", "hello")
            programs[name] = Program(command, own)
        runs = compare(programs, folder=folder, rounds=rounds, port=port, progress=progress)
    cpu = {name: statistics.median(run.cpu for run in got) for name, got in runs.items()}
    least = cpu[ENVIRONMENT]
    return [
        Row(
            f"ask, {name}: CPU",
            cpu[name],
            "s",
            least,
            ENVIRONMENT,
            limit=None if (more := LIMITS[name]) is None else round(least + more, 3),
        )
        for name in programs
        if name != ENVIRONMENT
    ]


def _keep(name: str, environ: Mapping[str, str]) -> None:
    """Make the secrets of one way: the provider's key, unless that is in the environment."""
    homes = {PASSPHRASE: "passphrase", KEYCHAIN: "keychain", FILE: "file", SEALED: "file"}
    if name not in homes:
        return
    every = {**os.environ, **environ}
    key = "other" if name == SEALED else "openai"
    for arguments in (("protect", homes[name]), ("set", key)):
        subprocess.run(
            [PYTHON, "-P", "-m", "patina", "keys", *arguments],
            env=every,
            input=b"sk-none-0123456789",
            capture_output=True,
            check=True,
            timeout=60,
        )


@contextmanager
def _secret_service(folder: Path) -> Iterator[Mapping[str, str]]:
    """Give the variables that lead to a Secret Service, none where there can be none."""
    from tests.secrets.secret_service import missing, secret_service

    if missing():
        yield {}
        return
    with secret_service(folder / "service") as variables:
        yield variables
