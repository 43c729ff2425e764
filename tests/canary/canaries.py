"""Secrets that are to turn up nowhere, and what finds them in any form: none of it is Patina's."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

# In two pieces: what looks for secrets in this repository is not to find this one.
PEM = "\n".join(
    (
        "-----BEGIN " + "PRIVATE KEY-----",
        "TUlHSEFnRUFNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQkcwd2F3SUJBUVFn",
        "Y2FuYXJ5cGVtbGluZW9uZTAwMDAwMDAwMDBjYW5hcnlwZW1saW5ldHdvMDAwMDAw",
        "MDAwMDAwMDAwMGNhbmFyeXBlbWVuZDAw",
        "-----END " + "PRIVATE KEY-----",
    )
)
CANARIES = {
    "key of the environment": "sk-canary-env-8f3a91c2d47b60e5",
    "key of .env": "sk-canary-dotenv-19b7e20c55fa8d31",
    "key of the vault": "sk-canary-vault-7c41d0a98be2f653",
    "key file": "canaryfile0d92b81f4e6a7c35",
    "variable of a server": "canaryvariable5e8f07a3b1c9d264",
    "bearer of a header": "canarybearer62c0f7d81e9a4b35",
    "access token": "canaryaccess.b7d2e4f90a61c385.signature",
    "refresh token": "canaryrefresh93a5c7e1f0d8b246",
    "id token": "canaryid.e0f1a2b3c4d59687.signature",
    "client secret": "canaryclientsecret4b8d1f62a7e093c5",
    "password of an address": "canarypassword2f6c8e0a1b3d5497",
    "private key": PEM,
    "odd key": "cänary\"quote'back\\slash %41&/+=?<ü€> end",
}


def forms(secret: str) -> set[str]:
    """Return how a secret may be written."""
    found = {secret, repr(secret)[1:-1], html.escape(secret), quote(secret), quote(secret, safe="")}
    found |= {quote_plus(secret), quote(secret, safe="").lower() if secret.islower() else secret}
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once)[1:-1]}
    for before in (b"", b"x", b"xx"):
        data = before + secret.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(data).decode()[4 if before else 0 : len(data) * 8 // 6])
    found |= {line for line in secret.splitlines() if line and not line.startswith("-----")}
    return found


FORMS = {name: {one.encode() for one in forms(secret)} for name, secret in CANARIES.items()}


def canaries_in(data: bytes) -> list[str]:
    """Return the names of the canaries in `data`."""
    return [name for name, written in FORMS.items() if any(one in data for one in written)]
