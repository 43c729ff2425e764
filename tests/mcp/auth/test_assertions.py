"""Statements of who a client is, signed with its private key."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from patina.mcp.auth.assertions import ALGORITHMS, Signing, client_assertion
from patina.mcp.auth.failing import SignInFault

NOW = 1_800_000_000.0
KEYS: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "RS": rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(key: Any) -> str:
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_the_client_is(algorithm: str) -> None:
    key = KEYS.get(algorithm, KEYS["RS"])
    signing = Signing(key=pem(key), algorithm=algorithm)
    text = client_assertion(signing, "me", "https://as.example", NOW)
    options: Any = {"verify_iat": False, "verify_exp": False}
    claims = jwt.decode(text, key.public_key(), [algorithm], options, audience="https://as.example")
    assert (claims["iss"], claims["sub"]) == ("me", "me")
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert claims["iat"] == NOW
    assert (
        claims["jti"]
        != jwt.decode(
            client_assertion(signing, "me", "x", NOW), options={"verify_signature": False}
        )["jti"]
    )


@pytest.mark.parametrize("algorithm", ["none", "HS256", "", "es256", "RS1"])
def test_algorithms_that_sign_nothing(algorithm: str) -> None:
    signing = Signing(key=pem(KEYS["RS"]), algorithm=algorithm)
    with pytest.raises(SignInFault, match="algorithm"):
        client_assertion(signing, "me", "https://as.example", NOW)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("", "ES256"),
        ("SECRET-WORDS", "ES256"),
        (pem(KEYS["RS"]).replace("MII", "SECRET-WORDS"), "RS256"),
        (pem(KEYS["RS"]), "ES256"),
        (pem(KEYS["ES384"]), "ES256"),
        (pem(KEYS["ES256"]), "RS256"),
        (pem(KEYS["ES256"]), "EdDSA"),
    ],
)
def test_a_key_that_does_not_fit_is_not_shown(key: str, algorithm: str) -> None:
    with pytest.raises(SignInFault, match="private key") as caught:
        client_assertion(Signing(key=key, algorithm=algorithm), "me", "https://as.example", NOW)
    assert "SECRET" not in str(caught.value) + caught.value.failure.hint
    assert caught.value.__cause__ is None
