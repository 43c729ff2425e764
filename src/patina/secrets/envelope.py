"""The bytes of the encrypted file: one line of JSON, of which all but the header is sealed.

    {"version":1,"key":{"id":…,"home":…,"check":…},"nonce":…,"data":…}

`data` is AES-256-GCM over the JSON of a `Body`; version and key are its associated data, so that
nothing of the file can be changed unnoticed. There is exactly one way to write a file, and what
is written differently is damaged.
"""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from patina.model.faults import ConfigFault

VERSION: Final = 1
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_NONCE_BYTES = 12
_CHECK_BYTES = 8

Home = Literal["keychain", "variable", "passphrase", "file"]

_Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
_DAMAGED = (
    "Put back a copy of it that is whole. Without one, move it away and set the keys again with "
    "`patina keys set NAME`."
)


class Work(Struct, frozen=True):
    """What deriving a key from a passphrase costs: Argon2id, memory in KiB.

    Bounds keep a file that somebody made from taking the machine's memory.
    """

    memory: Annotated[int, Meta(ge=8_192, le=1_048_576)] = 65_536
    passes: Annotated[int, Meta(ge=1, le=16)] = 3
    lanes: Annotated[int, Meta(ge=1, le=16)] = 4


class Mark(Struct, frozen=True, omit_defaults=True):
    """Which key a file has. `check` tells the right key from others; `salt` is a passphrase's."""

    id: _Id
    home: Home
    check: bytes
    salt: bytes = b""
    work: Work | None = None


class Record(Struct, frozen=True):
    """What Patina keeps for itself. `secrets` are what is to be masked of it."""

    content: bytes
    secrets: tuple[str, ...] = ()


class Body(Struct, frozen=True):
    """What is sealed: secrets by name, and Patina's own records."""

    secrets: dict[str, str] = {}
    records: dict[str, Record] = {}


class Envelope(Struct, frozen=True):
    """The file."""

    version: int
    key: Mark
    nonce: bytes
    data: bytes


class _Version(Struct, frozen=True):
    version: int


def check_of(key_id: str, key: bytes) -> bytes:
    """Return what a file says of its key, from which nothing can be learned of it."""
    import hashlib

    text = f"patina secrets {key_id}".encode()
    return hashlib.blake2b(text, key=key, digest_size=_CHECK_BYTES).digest()


def seal(mark: Mark, key: bytes, body: Body) -> tuple[bytes, bytes]:
    """Return the bytes of a file, and its nonce, which no other content ever has."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    data = AESGCM(key).encrypt(nonce, msgspec.json.encode(body), _header(VERSION, mark))
    return _written(Envelope(VERSION, mark, nonce, data)), nonce


def read_envelope(content: bytes, path: Path) -> Envelope:
    """Return what is in a file, still sealed. Raises `ConfigFault`."""
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise ConfigFault(
                f"{path} has format {version}, which this Patina does not know.",
                hint="It was written by a newer Patina: update this one.",
            )
        envelope = msgspec.json.decode(content, type=Envelope)
    except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
        raise damaged(path) from None
    key, by_phrase = envelope.key, envelope.key.home == "passphrase"
    whole = (
        _written(envelope) == content
        and len(envelope.nonce) == _NONCE_BYTES
        and len(key.salt) == (SALT_BYTES if by_phrase else 0)
        and (key.work is not None) == by_phrase
    )
    if not whole:
        raise damaged(path)
    return envelope


def unseal(envelope: Envelope, key: bytes, path: Path) -> Body:
    """Return what is in a file whose key this is. Raises `ConfigFault`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = _header(envelope.version, envelope.key)
    try:
        plain = AESGCM(key).decrypt(envelope.nonce, envelope.data, header)
        return msgspec.json.decode(plain, type=Body)
    except (InvalidTag, ValueError):
        raise damaged(path) from None


def damaged(path: Path) -> ConfigFault:
    """Return the fault of a file that is not as it was written."""
    return ConfigFault(f"{path} is damaged.", hint=_DAMAGED)


def _header(version: int, mark: Mark) -> bytes:
    return msgspec.json.encode((version, mark))


def _written(envelope: Envelope) -> bytes:
    return msgspec.json.encode(envelope) + b"\n"
