"""In words: what protects the kept secrets, and from whom."""

from typing import Literal

from msgspec import Struct

from patina.model.faults import ConfigFault
from patina.secrets.envelope import Home
from patina.secrets.homes import KEY, LOCKED
from patina.secrets.vault import Vault

State = Literal["empty", "open", "locked", "broken"]

HOMES: dict[Home, str] = {
    "keychain": "in the keychain of this computer",
    "variable": f"in the variable {KEY}",
    "passphrase": "made from a passphrase",
    "file": "in a key file",
}
_PROTECTS: dict[Home, str] = {
    "keychain": "Whoever can use your session can read them; whoever has the file alone, or the "
    "disk, cannot.",
    "variable": "Whoever can see the environment that Patina is started in can read them; whoever "
    "has the file alone cannot.",
    "passphrase": "Whoever has the file can only guess at the passphrase.",
    "file": "A key file beside the data protects backups, synced copies and accidental reads only: "
    "whoever can read your files can read them.",
}
_SYNCED: dict[Home, str] = {
    "keychain": "A synced data folder takes the file to other computers, but not its key.",
    "variable": f"With a synced data folder, other computers open it with the same {KEY}.",
    "passphrase": "With a synced data folder, other computers open it with the same passphrase.",
    "file": "A synced data folder takes the file to other computers, but not its key.",
}
_BETTER: dict[Home, str] = {
    "keychain": "For several computers: `patina keys protect passphrase`.",
    "file": "Better, where they can be had: `patina keys protect keychain`, or `passphrase`.",
}
_EMPTY = (
    "None are kept yet. The first makes an encrypted file; its key goes into the keychain, where "
    f"there is one, else into a key file, and is {KEY}, where that is set."
)


class Protection(Struct, frozen=True):
    """What is known without asking anybody. `text` is sentences; `hint` says what may be done.

    `open` also means that the file was opened, "locked" that only a passphrase or a variable is
    missing. `home` is "" where there is no file, or where it cannot be told.
    """

    file: str
    home: Home | Literal[""]
    state: State
    text: str
    hint: str = ""


def keychain_words(vault: Vault) -> str:
    """Say whether this computer has a keychain that can be used. May take seconds."""
    from patina.secrets.keychain import NoKeychainError

    keychain = vault.homes.keychain
    if keychain is None:
        return ""
    try:
        keychain.read("none")
    except NoKeychainError as error:
        return f"The keychain {error}."
    return "This computer has a keychain that can be used."


def protection_of(vault: Vault) -> Protection:
    """Return what protects the secrets of `vault`. Asks for no passphrase."""
    file, home = str(vault.path), None
    try:
        home = vault.home()
        if home is None:
            return Protection(file, "", "empty", _EMPTY)
        vault.check()
    except ConfigFault as fault:
        failure = fault.failure
        if failure.code != LOCKED or home is None:
            return Protection(file, home or "", "broken", failure.message, failure.hint)
        text = f"{_described(vault, home)} {failure.message}"
        return Protection(file, home, "locked", text, failure.hint)
    return Protection(file, home, "open", _described(vault, home), _BETTER.get(home, ""))


def _described(vault: Vault, home: Home) -> str:
    where = f"in {vault.homes.key_file.path}" if home == "file" else HOMES[home]
    return f"Encrypted in {vault.path}. The key is {where}. {_PROTECTS[home]} {_SYNCED[home]}"
