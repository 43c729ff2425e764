"""Where the key of the encrypted file is: keychain, variable, passphrase or key file."""

import os
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from patina.model.faults import ConfigFault, UsageFault
from patina.secrets.envelope import KEY_BYTES, SALT_BYTES, Home, Mark, Work, check_of
from patina.secrets.key_file import KeyFile
from patina.secrets.keychain import Keychain, NoKeychainError
from patina.secrets.raw_key import HOW_TO_MAKE, raw_key, written_key

KEY: Final = "PATINA_KEY"
NEW_KEY: Final = "PATINA_KEY_NEW"
PHRASE: Final = "PATINA_PASSPHRASE"
NEW_PHRASE: Final = "PATINA_PASSPHRASE_NEW"
LOCKED: Final = "locked"  # the code of a fault: only a person or a variable is missing
MIN_PHRASE: Final = 8
TRIES: Final = 3

_OTHER_HOMES: Final = (
    "Nothing was changed. Unlock or start it and try again, or use `patina keys protect passphrase"
    "`, or `file`."
)

# Asks whoever is there, unseen; "" where nobody is, or nothing was typed.
Ask = Callable[[str], str]


def ask_nobody(question: str) -> str:
    """Nobody is there."""
    return ""


class NewKey(Struct, frozen=True):
    """A key, and what the file says of it."""

    mark: Mark
    key: bytes


class KeyHomes:
    """Finds, makes and moves keys. All methods raise `ConfigFault` where that cannot be done.

    `environ` is the process's own, never a file's. Without `keychain` there is none. `work` is what
    a new passphrase costs to try.
    """

    def __init__(
        self,
        key_file: KeyFile,
        environ: Mapping[str, str],
        *,
        keychain: Keychain | None = None,
        ask: Ask = ask_nobody,
        work: Work | None = None,
    ) -> None:
        self.key_file = key_file
        self._work = work or Work()
        self.keychain = keychain
        self.ask = ask
        self._environ = environ
        self._passphrase = ""
        self._nobody = False

    def find(self, mark: Mark, *, may_ask: bool = True) -> bytes:
        """Return the key of the file that says `mark`. A passphrase is asked for once only."""
        match mark.home:
            case "keychain":
                return self._in_keychain(mark)
            case "variable":
                return self._in_variable(mark)
            case "passphrase":
                return self._from_passphrase(mark, may_ask=may_ask)
            case "file":
                return self._in_file(mark)

    def first(self) -> NewKey:
        """Return a key for a file that is not there yet, in the best home of this computer."""
        if self._environ.get(KEY):
            return self.prepare("variable")
        if self.keychain is not None:
            new = self.prepare("keychain")
            try:
                self.store(new)
            except ConfigFault:
                pass  # why is said by `keys status`
            else:
                return new
        new = self.prepare("file")
        self.store(new)
        return new

    def prepare(self, home: Home, before: Home | None = None) -> NewKey:
        """Return a new key for `home`; `before` is the home of the one that it replaces.

        Keys in variables and passphrases are the person's: they are taken from the environment,
        and passphrases asked for. Nothing is kept yet.
        """
        if home == "variable":
            key = self._new_variable(fresh=before == home)
            return _marked(home, key)
        if home == "passphrase":
            passphrase = self._new_passphrase(fresh=before == home)
            salt, work = os.urandom(SALT_BYTES), self._work
            return _marked(home, _derive(passphrase, salt, work), salt, work)
        return _marked(home, os.urandom(KEY_BYTES))

    def store(self, new: NewKey) -> None:
        """Keep a new key in its home, beside the one that it is to replace."""
        if new.mark.home == "file":
            self.key_file.add(new.mark.id, new.key)
        if new.mark.home == "keychain":
            try:
                self._keychain().write(new.mark.id, written_key(new.key))
            except NoKeychainError as error:
                raise _no_keychain(error, _OTHER_HOMES) from None

    def forget(self, mark: Mark) -> str:
        """Forget a key that is in use no more. Returns a sentence where that cannot be done."""
        try:
            if mark.home == "file":
                self.key_file.remove(mark.id)
            if mark.home == "keychain":
                self._keychain().remove(mark.id)
        except NoKeychainError as error:
            return f"The old key is still in the keychain, which {error}."
        except (ConfigFault, OSError) as error:
            return f"The old key is still in {self.key_file.path}: {error}"
        return ""

    def _keychain(self) -> Keychain:
        if self.keychain is None:
            raise NoKeychainError("is not used here")
        return self.keychain

    def _in_keychain(self, mark: Mark) -> bytes:
        try:
            text = self._keychain().read(mark.id)
        except NoKeychainError as error:
            hint = (
                "Unlock or start it and try again. Where there never is one, run `patina keys "
                "protect passphrase` where there is."
            )
            raise _no_keychain(error, hint) from None
        if text is None:
            raise ConfigFault(
                "The keychain does not have the key of the secrets: they are from another computer "
                "or user, or the key was removed there.",
                hint="Where they can be opened, run `patina keys protect passphrase`, which works "
                "everywhere. Otherwise move secrets.enc away and set the keys again.",
            )
        return self._checked(mark, raw_key(text), "The keychain")

    def _in_variable(self, mark: Mark) -> bytes:
        given = [self._environ[name] for name in (KEY, NEW_KEY) if self._environ.get(name)]
        if not given:
            raise ConfigFault(
                f"The secrets are locked: their key is expected in {KEY}, which is not set.",
                hint=f"Set {KEY} to the key that they were encrypted with.",
                code=LOCKED,
            )
        keys = [raw_key(text) for text in given]
        if None in keys:
            raise _no_key(KEY if keys[0] is None else NEW_KEY)
        right = [key for key in keys if key is not None and check_of(mark.id, key) == mark.check]
        return self._checked(mark, right[0] if right else keys[0], KEY)

    def _in_file(self, mark: Mark) -> bytes:
        path = self.key_file.path
        key = self.key_file.read(mark.id)
        if key is None:
            raise ConfigFault(
                f"The key of the secrets is not in {path}: they are from another computer, or the "
                "key was removed.",
                hint=f"Put {path} back, from a copy or from where the secrets came from, or move "
                "secrets.enc away and set the keys again.",
            )
        return self._checked(mark, key, str(path))

    def _checked(self, mark: Mark, key: bytes | None, where: str) -> bytes:
        if key is None or check_of(mark.id, key) != mark.check:
            raise ConfigFault(
                f"{where} has another key than the one that the secrets were encrypted with.",
                hint="Put the right key back, or move secrets.enc away and set the keys again.",
            )
        return key

    def _from_passphrase(self, mark: Mark, *, may_ask: bool) -> bytes:
        names = (PHRASE, NEW_PHRASE)
        given = [self._passphrase, *(self._environ.get(name, "") for name in names)]
        for passphrase in filter(None, given):
            if key := self._right(mark, passphrase):
                return key
        if self._environ.get(PHRASE):
            raise ConfigFault(
                f"{PHRASE} is not the passphrase of the secrets.",
                hint="Correct it, or unset it to be asked.",
            )
        question = "Passphrase of the secrets"
        for _ in range(TRIES if may_ask and not self._nobody else 0):
            typed = self.ask(question)
            if not typed:
                break
            if key := self._right(mark, typed):
                return key
            question = "That is not it. Passphrase of the secrets"
        self._nobody = self._nobody or may_ask
        raise ConfigFault(
            "The secrets are locked: their passphrase is needed.",
            hint=f"Start Patina in a terminal, where it asks, or set {PHRASE}.",
            code=LOCKED,
        )

    def _right(self, mark: Mark, passphrase: str) -> bytes | None:
        key = _derive(passphrase, mark.salt, mark.work or Work())
        if check_of(mark.id, key) != mark.check:
            return None
        self._passphrase = passphrase
        return key

    def _new_variable(self, *, fresh: bool) -> bytes:
        name = NEW_KEY if fresh else KEY
        text = self._environ.get(name)
        if not text:
            why = "the new key is expected there" if fresh else "the key is expected there"
            raise UsageFault(f"{name} is not set: {why}.", hint=HOW_TO_MAKE)
        key = raw_key(text)
        if key is None:
            raise _no_key(name)
        if fresh and key == raw_key(self._environ.get(KEY, "")):
            raise UsageFault(f"{name} is the same key as {KEY}.", hint=HOW_TO_MAKE)
        return key

    def _new_passphrase(self, *, fresh: bool) -> str:
        names = (NEW_PHRASE,) if fresh else (NEW_PHRASE, PHRASE)
        given = next((self._environ[name] for name in names if self._environ.get(name)), "")
        passphrase = given or self.ask("New passphrase of the secrets")
        if not passphrase:
            raise UsageFault(
                "No passphrase was given.", hint=f"Type it in a terminal, or set {names[0]}."
            )
        if len(passphrase) < MIN_PHRASE:
            raise UsageFault(
                f"The passphrase is under {MIN_PHRASE} characters.",
                hint="Take some words: whoever has the file may try as many as they like.",
            )
        if not given and self.ask("The same once more") != passphrase:
            raise UsageFault("The two are not the same.", hint="Nothing was changed. Try again.")
        return passphrase


def _marked(home: Home, key: bytes, salt: bytes = b"", work: Work | None = None) -> NewKey:
    key_id = os.urandom(16).hex()
    return NewKey(Mark(key_id, home, check_of(key_id, key), salt, work), key)


def _derive(passphrase: str, salt: bytes, work: Work) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    if not passphrase.isascii():
        import unicodedata

        # The same words are other characters on another keyboard.
        passphrase = unicodedata.normalize("NFC", passphrase)
    return Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=work.passes,
        lanes=work.lanes,
        memory_cost=work.memory,
    ).derive(passphrase.encode("utf-8", "surrogatepass"))


def _no_key(name: str) -> ConfigFault:
    return ConfigFault(f"{name} is no key: it is not base64 of 32 bytes.", hint=HOW_TO_MAKE)


def _no_keychain(error: NoKeychainError, hint: str) -> ConfigFault:
    return ConfigFault(f"The keychain {error}.", hint=hint)
