"""Words that settings of an MCP server may use: packages, sources, ways to authenticate, versions.

Packages and sources are those of the requirements A-04 and A-05 with the types of the official
registry's `registryType`; versions are the published revisions of the protocol.
"""

import re
from typing import Final, Literal, get_args

PackageType = Literal["npm", "docker", "oci", "pypi", "nuget"]
AuthType = Literal["none", "api_key", "keyfile", "oauth"]

PACKAGE_TYPES: Final[tuple[str, ...]] = get_args(PackageType)
AUTH_TYPES: Final[tuple[str, ...]] = get_args(AuthType)
# By `source.type`: what else a source says.
SOURCE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "official": ("name", "version"),
    "smithery": ("qualified_name",),
    "manual": ("url",),
}
PROTOCOL_VERSIONS: Final = (
    *("auto", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"),
)
# One word, and never an option of the program that fetches the package.
_WORD: Final = re.compile(r"(?!-)[^\s\x00-\x1f\x7f]+")


def is_package_word(text: str) -> bool:
    """Whether `text` may stand in a command as the name or the version of a package."""
    return _WORD.fullmatch(text) is not None
