"""A 256-bit key as text: base64, as it stands in a variable, a keychain or a file."""

import base64
import binascii
from typing import Final

from patina.secrets.envelope import KEY_BYTES

HOW_TO_MAKE: Final = (
    "Make one with `openssl rand -base64 32`, or with `python3 -c "
    '"import base64, os; print(base64.b64encode(os.urandom(32)).decode())"`.'
)


def raw_key(text: str) -> bytes | None:
    """Return the key that `text` is, in either alphabet of base64, None where it is none."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def written_key(key: bytes) -> str:
    """Return a key as text of 44 characters."""
    return base64.b64encode(key).decode()
