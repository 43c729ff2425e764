"""Proof that whoever sends a token is who it was given to (RFC 9449)."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt
import pytest

from patina.mcp.auth.dpop import new_key, proof, thumbprint

NOW = 1_800_000_000.7
URL = "https://mcp.example/mcp?session=1#x"


def read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the signature with the key in the header, as a server does."""
    head = jwt.get_unverified_header(text)
    key = jwt.PyJWK.from_dict(head["jwk"], algorithm="ES256").key
    options: Any = {"verify_iat": False}
    return head, jwt.decode(text, key, algorithms=["ES256"], options=options)


def test_a_proof_for_a_token_endpoint() -> None:
    key = new_key()
    head, claims = read(proof(key, "POST", "https://as.example/token", now=NOW))
    assert (head["typ"], head["alg"]) == ("dpop+jwt", "ES256")
    assert set(head["jwk"]) == {"kty", "crv", "x", "y"}
    assert len(claims.pop("jti")) >= 16
    assert claims == {"htm": "POST", "htu": "https://as.example/token", "iat": 1_800_000_000}


def test_a_proof_for_a_resource() -> None:
    key = new_key()
    _, claims = read(proof(key, "GET", URL, token="tökén", nonce="n-1", now=NOW))
    ath = urlsafe_b64encode(sha256("tökén".encode()).digest()).rstrip(b"=").decode()
    assert (claims["htm"], claims["htu"]) == ("GET", "https://mcp.example/mcp")
    assert (claims["ath"], claims["nonce"]) == (ath, "n-1")


def test_no_proof_is_there_twice() -> None:
    key = new_key()
    made = [read(proof(key, "GET", URL, now=NOW))[1]["jti"] for _ in range(50)]
    assert len(set(made)) == 50


def test_every_key_is_another() -> None:
    one, other = new_key(), new_key()
    assert thumbprint(one) != thumbprint(other)
    head, _ = read(proof(one, "GET", URL, now=NOW))
    members = head["jwk"]
    text = "{" + ",".join(f'"{name}":"{members[name]}"' for name in sorted(members)) + "}"
    digest = sha256(text.encode()).digest()
    assert thumbprint(one) == urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize("key", ["", "no key", new_key()[:60], new_key().replace("M", "N")])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are those of a library
        proof(key, "GET", URL, now=NOW)
