"""The real command in a process of its own, and in this one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def home() -> Path:
    """The Patina folder of this test."""
    return Path(os.environ["PATINA_HOME"])


def patina(
    *arguments: str, stdin: str = "", variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `patina` with these arguments."""
    return run([sys.executable, "-m", "patina", *arguments], stdin, variables)


def run(
    command: Sequence[str], stdin: str = "", variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in the environment of this test."""
    return subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def kept_secrets() -> dict[str, str]:
    """The secrets of this test's Patina folder, by name."""
    from patina.config.files import update_file
    from patina.secrets.vault import key_file_vault

    vault = key_file_vault(home() / "data" / "secrets.enc", home() / "key", update_file)
    return {name: vault.get(name) or "" for name in vault.names()}


def in_process(*arguments: str) -> int:
    """Run a command line in this process and return its exit code."""
    from patina.cli.frame import run_command

    return run_command(list(arguments))
