"""Vaults in a temporary place, with the home of the key that a test wants."""

import base64
from collections.abc import Callable
from pathlib import Path

from patina.config.files import update_file
from patina.secrets.envelope import Home, Work
from patina.secrets.homes import KeyHomes
from patina.secrets.key_file import KeyFile
from patina.secrets.keychain import Keychain
from patina.secrets.vault import Places, Update, Vault

KEY = base64.b64encode(bytes(range(32))).decode()
NEW_KEY = base64.b64encode(bytes(range(1, 33))).decode()
PHRASE = "correct horse \u00e9"


class Computer:
    """The folders of a user, and the variables that Patina is started with."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = environ
        self.file = folder / "data" / "secrets.enc"
        self.key = folder / "key"
        self.legacy = folder / "secrets.json"
        self.index = folder / "cache" / "key_names.json"
        self.seen: list[str] = []
        self.asked: list[str] = []
        self.typed: list[str] = []

    def ask(self, question: str) -> str:
        self.asked.append(question)
        return self.typed.pop(0) if self.typed else ""

    def vault(
        self,
        update: Update = update_file,
        *,
        index: bool = True,
        keychain: Callable[[], Keychain] | None = None,
    ) -> Vault:
        """A vault as a new process would have it."""
        homes = KeyHomes(
            KeyFile(self.key, update),
            self.environ,
            keychain=keychain() if keychain else None,
            ask=self.ask,
            work=Work(memory=8_192, passes=1),  # what it costs is no matter of these tests
        )
        places = Places(self.file, self.legacy, self.index if index else None)
        return Vault(places, homes, update, self.seen.append)

    def protected(self, home: Home) -> Vault:
        """A vault whose key is in `home`, with one secret."""
        self.environ.update(
            {"variable": {"PATINA_KEY": KEY}, "passphrase": {"PATINA_PASSPHRASE": PHRASE}}.get(
                home, {}
            )
        )
        vault = self.vault()
        vault.rekey(home)
        vault.set("openai", "sk-first-canary")
        return vault

    def everything(self) -> dict[str, str | None]:
        """What a new process finds."""
        vault = self.vault(index=False)
        return {name: vault.get(name) for name in vault.names()}
