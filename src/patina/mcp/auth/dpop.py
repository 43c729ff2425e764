"""Proof that whoever sends a token is who it was given to. Facts: RFC 9449 4.2, 5, 7, 8."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ALGORITHM: Final = "ES256"


def new_key() -> str:
    """Return a new private key (PEM)."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def proof(key: str, method: str, url: str, *, token: str = "", nonce: str = "", now: float) -> str:
    """Return the proof (JWT) for one request: never send it twice.

    `key` is one of `new_key`; `token` the access token that goes with it, `nonce` what the server
    wants to see, "" where there is none. Raises `ValueError` where `key` is no such key.
    """
    from secrets import token_urlsafe

    import jwt

    private, public = _pair(key)
    claims: dict[str, Any] = {
        "jti": token_urlsafe(16),
        "htm": method,
        "htu": url.partition("#")[0].partition("?")[0],
        "iat": int(now),
    }
    if token:
        claims["ath"] = _digest(token.encode())
    if nonce:
        claims["nonce"] = nonce
    return jwt.encode(
        claims, private, algorithm=ALGORITHM, headers={"typ": "dpop+jwt", "jwk": public}
    )


def thumbprint(key: str) -> str:
    """Return the name of the public half of `key` (RFC 7638), which is in tokens bound to it."""
    public = _pair(key)[1]
    members = ",".join(f'"{name}":"{public[name]}"' for name in ("crv", "kty", "x", "y"))
    return _digest(f"{{{members}}}".encode())


@lru_cache(maxsize=8)
def _pair(key: str) -> tuple["EllipticCurvePrivateKey", dict[str, str]]:
    """Return the key and its public half as a JWK. Kept: there is one proof for each request."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = serialization.load_pem_private_key(key.encode(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise ValueError("not a key on the curve P-256")
    point = private.public_key().public_numbers()
    x, y = (_base64(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return private, {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _digest(data: bytes) -> str:
    from hashlib import sha256

    return _base64(sha256(data).digest())


def _base64(data: bytes) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(data).rstrip(b"=").decode()
