"""Statements that are signed: who a client is (RFC 7523 2.2, 3), with its private key."""

from typing import Final

from msgspec import Struct

from patina.mcp.auth.failing import SignInFault

KIND: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = (
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "EdDSA",
)
_SECONDS: Final = 300


class Signing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The private key (PEM) of a client that is known by one, and the algorithm for it."""

    key: str = ""
    algorithm: str = "ES256"


NO_SIGNING: Final = Signing()


def client_assertion(signing: Signing, client_id: str, audience: str, now: float) -> str:
    """Return a JWT by which `client_id` shows `audience` who it is, good for five minutes.

    Raises `SignInFault` where the key or the algorithm is not fit for that.
    """
    from secrets import token_urlsafe

    import jwt

    if signing.algorithm not in ALGORITHMS:
        raise SignInFault(
            "The signing algorithm of the client is not one that can be used.",
            step="token",
            hint=f"Set `signing_algorithm` to one of {', '.join(ALGORITHMS)}.",
        )
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": int(now),
        "exp": int(now) + _SECONDS,
        "jti": token_urlsafe(16),
    }
    try:
        return jwt.encode(claims, signing.key, algorithm=signing.algorithm)
    except (ValueError, TypeError, jwt.PyJWTError):
        # Its words may hold parts of the key.
        raise SignInFault(
            f"The private key of the client cannot sign with {signing.algorithm}.",
            step="token",
            hint="`private_key` must be the whole PEM text, and of the kind the algorithm needs.",
        ) from None
