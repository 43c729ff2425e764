"""A process that works on a vault, and may be killed in the middle of it.

    python -m tests.secrets.vault_child FOLDER WORK [DIE_AT]

It dies by SIGKILL when the step DIE_AT begins. Without that, it prints how many steps there were.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.secrets.places import KEY, NEW_KEY, PHRASE, Computer

from patina.config.files import update_file
from patina.secrets.keychain import Keychain
from patina.secrets.vault import Vault


def keep(vault: Vault) -> None:
    vault.set("openai", "after")


def keep_many(vault: Vault) -> None:
    for number in range(20):
        vault.set(f"{os.getpid()}-{number}", "v")


WORK: dict[str, Callable[[Vault], object]] = {
    "set": keep,
    "remove": lambda vault: vault.remove("openai"),
    "move": lambda vault: vault.names(),
    "rotate": lambda vault: vault.rekey(),
    "file": lambda vault: vault.rekey("file"),
    "variable": lambda vault: vault.rekey("variable"),
    "passphrase": lambda vault: vault.rekey("passphrase"),
    "keychain": lambda vault: vault.rekey("keychain"),
    "many": keep_many,
    "keep rotating": lambda vault: [vault.rekey("file") for _ in range(20)],
}


class Steps:
    """Counts what is done to files, and dies where it is to."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self._die_at = die_at

    def step(self) -> None:
        self.count += 1
        if self.count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def update(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        def changed(content: bytes) -> bytes:
            self.step()
            after = change(content)
            self.step()
            return after

        self.step()
        update_file(path, changed)
        self.step()


class SteppedKeychain(Keychain):
    """The keychain of the session, with a step before and after each change of it."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(os.environ)
        self._steps = steps

    def write(self, account: str, secret: str) -> None:
        self._steps.step()
        super().write(account, secret)
        self._steps.step()

    def remove(self, account: str) -> None:
        self._steps.step()
        super().remove(account)
        self._steps.step()


def computer(folder: Path) -> Computer:
    """The computer of these tests: all variables that may be needed are set."""
    variables = {"PATINA_KEY": KEY, "PATINA_KEY_NEW": NEW_KEY}
    phrases = {"PATINA_PASSPHRASE": PHRASE, "PATINA_PASSPHRASE_NEW": "another phrase"}
    return Computer(folder, **variables, **phrases)


def main() -> None:
    folder, work, *die_at = sys.argv[1:]
    steps = Steps(int(die_at[0]) if die_at else 0)
    # Without variables the first key goes into a file.
    here = Computer(Path(folder)) if work in ("many", "move") else computer(Path(folder))
    WORK[work](here.vault(steps.update, keychain=lambda: SteppedKeychain(steps)))
    print(steps.count)


if __name__ == "__main__":
    main()
