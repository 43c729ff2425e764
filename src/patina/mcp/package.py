"""From the package that a server is (A-05) to the command that starts it (A-12)."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from patina.model.faults import McpFault
from patina.model.packages import PACKAGE_TYPES, is_package_word
from patina.model.settings import ServerSettings

_CORRECT: Final = "Give `command` and `args` instead, or correct `package`."


def with_command(settings: ServerSettings) -> ServerSettings:
    """Return `settings` with the `command` and `args` that its `package` means.

        npm           <runtime_hint or npx> -y IDENTIFIER[@VERSION] ARGS
        docker, oci   <runtime_hint or docker> run -i --rm [-e NAME]... IMAGE[:VERSION] ARGS
        pypi          uvx IDENTIFIER[@VERSION] ARGS
        nuget         dnx IDENTIFIER[@VERSION] --yes [-- ARGS]

    Settings that have a command, or no package, or a remote server stay as they are; so the
    answer may be given again. A container sees only the variables that are named by `-e`. Raises
    `McpFault` for a package that cannot be run.
    """
    if settings.command or not settings.package or settings.transport != "stdio":
        return settings
    package = settings.package
    identifier, version = _named(package)
    kind, hint = package.get("type", ""), package.get("runtime_hint", "")
    args: tuple[str, ...]
    if kind == "npm":
        command, args = hint or "npx", ("-y", _at(identifier, version), *settings.args)
    elif kind in ("docker", "oci"):
        variables = [word for name in settings.env for word in ("-e", name)]
        image = _tagged(identifier, version)
        command, args = hint or "docker", ("run", "-i", "--rm", *variables, image, *settings.args)
    elif kind == "pypi":
        command, args = "uvx", (_at(identifier, version), *settings.args)
    elif kind == "nuget":
        more = ("--", *settings.args) if settings.args else ()
        command, args = "dnx", (_at(identifier, version), "--yes", *more)
    else:
        raise McpFault(
            f"Packages of the type {kind or 'nothing'} cannot be run; "
            f"what can: {', '.join(PACKAGE_TYPES)}.",
            hint=_CORRECT,
        )
    return replace(settings, command=command, args=args)


def _named(package: Mapping[str, str]) -> tuple[str, str]:
    """Return the identifier and the version ("": none). Raises `McpFault`."""
    identifier, version = package.get("identifier", ""), package.get("version", "")
    if not is_package_word(identifier):
        raise McpFault(f"{identifier or 'Nothing'} is not the name of a package.", hint=_CORRECT)
    if version and not is_package_word(version):
        raise McpFault(f"{version} is not the version of a package.", hint=_CORRECT)
    return identifier, version


def _at(identifier: str, version: str) -> str:
    # The first character may be a scope's own "@".
    return f"{identifier}@{version}" if version and "@" not in identifier[1:] else identifier


def _tagged(image: str, version: str) -> str:
    # Before the last "/" a colon parts a port from its host.
    named = ":" in image.rpartition("/")[2] or "@" in image
    return f"{image}:{version}" if version and not named else image
