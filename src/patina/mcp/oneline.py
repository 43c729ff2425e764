"""One line of a person, read as a server (`patina mcp add`; A-18, A-20)."""

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from patina.mcp import environment
from patina.mcp.diagnosis import program
from patina.model.faults import UsageFault
from patina.model.settings import ServerSettings, Transport

LONGEST_NAME: Final = 32
WHAT_WORKS: Final = (
    "What works: `npx -y PACKAGE`, `uvx PACKAGE`, `docker run -i --rm IMAGE`, a command that is "
    "installed here, or an http(s) or ws(s) address."
)
_NPM_PACKAGE: Final = re.compile(r"@[a-z0-9-][a-z0-9._-]*/[a-z0-9-][a-z0-9._-]*(@[\w.^~-]+)?")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SHELL: Final = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"})
_SCHEMES: Final[dict[str, Transport]] = {
    "http": "streamable-http",
    "https": "streamable-http",
    "ws": "websocket",
    "wss": "websocket",
}
# Options that are followed by a value, so that what comes after it is not the package or image.
_NPX_VALUES: Final = frozenset({"-p", "--package", "-c", "--call", "--registry"})
_UVX_VALUES: Final = frozenset({"--from", "--with", "-p", "--python", "--index"})
_DOCKER_VALUES: Final = frozenset(
    {
        "-e",
        "--env",
        "--env-file",
        "-v",
        "--volume",
        "--mount",
        "--name",
        "--network",
        "--net",
        "-p",
        "--publish",
        "-w",
        "--workdir",
        "-u",
        "--user",
        "--entrypoint",
        "--platform",
        "-m",
        "--memory",
        "--cpus",
        "-l",
        "--label",
        "-h",
        "--hostname",
        "--pull",
        "--add-host",
        "--dns",
        "--tmpfs",
        "--device",
        "--cap-add",
        "--cap-drop",
        "--security-opt",
        "--gpus",
    }
)
_COMMON_HOST_WORDS: Final = frozenset({"www", "mcp", "api", "server", "remote"})
_COMMON_PATHS: Final = frozenset({"mcp", "sse", "api", "v1", "http", "ws"})


def parse_add(
    line: str | Sequence[str], *, environ: Mapping[str, str], folder: Path
) -> tuple[str, ServerSettings]:
    """Return (suggested name, settings) of a server described by one line or an argv.

    `environ` is what plain commands are looked up with. Where the command names a file below
    `folder` by a relative path, the server runs in `folder`. `NAME=value` before a command sets
    its environment. Nothing is run. Raises `UsageFault` that says what would work.
    """
    words = _words(line)
    if len(words) == 1 and "://" in words[0]:
        return _remote(words[0])
    env: dict[str, str] = {}
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        env[match[1]] = match[2]
        words = words[1:]
    if not words:
        raise _wrong("There is no command in it.")
    if mark := next((word for word in words if word in _SHELL), ""):
        raise _wrong(f"Servers are started without a shell, which {mark} would need.")
    name, package, words = _identified(words, environ, folder)
    settings = ServerSettings(
        command=words[0],
        args=tuple(words[1:]),
        cwd=_cwd(words, folder),
        env=env,
        package=package,
    )
    return slug(name), settings


def slug(text: str) -> str:
    """Return `text` as the name of a server: `[a-z0-9_-]{1,32}`."""
    clean = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    return clean[:LONGEST_NAME].strip("-_") or "server"


def package_name(package: Mapping[str, str]) -> str:
    """Return a name for the server that `package` (`type`, `identifier`) is."""
    kind, identifier = package["type"], package["identifier"]
    if kind in ("docker", "oci"):
        return slug(re.split(r"[@:]", identifier.rpartition("/")[2])[0])
    if kind == "pypi":
        return slug(re.split(r"[@=<>\[]", identifier)[0])
    # `@scope/name@1.2` without its version; the first character may be the scope's own "@".
    whole = identifier[:1] + identifier[1:].partition("@")[0]
    # Cut off in the middle it would say less than without its scope.
    fits = len(whole.lstrip("@")) <= LONGEST_NAME
    return slug(whole if fits else whole.rpartition("/")[2])


def _wrong(what: str) -> UsageFault:
    return UsageFault(f"That is not a server that can be added. {what}", hint=WHAT_WORKS)


def _words(line: str | Sequence[str]) -> list[str]:
    if not isinstance(line, str):
        if len(line) != 1:
            return list(line)
        line = line[0]
    if line.lstrip().startswith(("{", "[")):
        raise UsageFault(
            "That is JSON, not a command or an address.",
            hint="Give the command that stands in it: patina mcp add NAME -- COMMAND ARGS…",
        )
    try:
        return shlex.split(line)
    except ValueError as error:
        raise _wrong(f"Its quotes do not match ({error}).") from None


def _identified(
    words: list[str], environ: Mapping[str, str], folder: Path
) -> tuple[str, dict[str, str], list[str]]:
    """Return the name, the package and the command of a local server."""
    tool = program(words[0])
    if tool == "npx":
        found = _after_options(words[1:], _NPX_VALUES)
        identifier = _option(words, "-p", "--package") or found
        package = _package("npm", identifier, "npx")
        return package_name(package), package, words
    if tool == "uvx":
        found = _after_options(words[1:], _UVX_VALUES)
        identifier = _option(words, "--from") or found
        return re.split(r"[@=<>\[]", found)[0], _package("pypi", identifier, "uvx"), words
    if tool in ("docker", "podman") and words[1:2] == ["run"]:
        image = _after_options(words[2:], _DOCKER_VALUES)
        if not image:
            raise _wrong(f"`{tool} run` names no image.")
        if not _interactive(words[2 : words.index(image, 2)]):
            # Without its stdin a container hears nothing at all.
            words = [*words[:2], "-i", *words[2:]]
        package = _package("docker", image, "")
        return package_name(package), package, words
    if _NPM_PACKAGE.fullmatch(words[0]):
        raise UsageFault(
            f"{words[0]} is the name of a package, not a command.",
            hint=f"To run it: `npx -y {words[0]}`.",
        )
    probe = ServerSettings(command=words[0], cwd=str(folder))
    if environment.binary(probe, environ) is None:
        raise _wrong(f"There is no program {words[0]} on this machine.")
    return _script_name(words), {}, words


def _package(kind: str, identifier: str, hint: str) -> dict[str, str]:
    if not identifier:
        raise _wrong("It names no package.")
    package = {"type": kind, "identifier": identifier}
    return package | {"runtime_hint": hint} if hint else package


def _after_options(words: list[str], with_value: frozenset[str]) -> str:
    """Return the first word that is neither an option nor the value of one, "" if none."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in with_value
        else:
            return word
    return ""


def _option(words: list[str], *names: str) -> str:
    for word, following in pairwise(words):
        if word in names:
            return following
        if any(word.startswith(f"{name}=") for name in names if name.startswith("--")):
            return word.partition("=")[2]
    return ""


def _interactive(options: list[str]) -> bool:
    return any(
        word == "--interactive" or (re.fullmatch(r"-[a-z]+", word) and "i" in word)
        for word in options
    )


def _script_name(words: list[str]) -> str:
    """Return a name for `python -m pkg.mod`, `node dir/index.js` or `command`."""
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1].rpartition(".")[2]
    script = next((word for word in words[1:] if re.search(r"\.(py|m?js|ts|rb|jar)$", word)), "")
    path = Path(script or words[0])
    generic = path.stem in ("index", "main", "server", "app", "__main__", "cli")
    folders = [part for part in path.parent.parts if part not in ("dist", "build", "src", "/", ".")]
    return folders[-1] if script and generic and folders else path.stem


def _cwd(words: list[str], folder: Path) -> str:
    relative = (word for word in words if not word.startswith(("-", "~")) and word != ".")
    found = any(not Path(word).is_absolute() and (folder / word).is_file() for word in relative)
    return str(folder) if found or "." in words else ""


def _remote(address: str) -> tuple[str, ServerSettings]:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        transport = _SCHEMES.get(parts.scheme.lower())
        _ = parts.port
    except ValueError as error:
        raise _wrong(f"The address is not valid: {error}.") from None
    if transport is None:
        raise _wrong(f"Addresses of the kind {parts.scheme}: are not understood.")
    if not host:
        raise _wrong("The address names no host.")
    if parts.username or parts.password:
        raise UsageFault(
            "The address holds a user name or password, which every log would show.",
            hint="Leave it out, and give the credentials as a header or sign in.",
        )
    if transport == "streamable-http" and parts.path.rstrip("/").endswith("/sse"):
        transport = "sse"
    source = {"type": "manual", "url": address}
    return slug(_host_name(parts, host)), ServerSettings(
        transport=transport, url=address, source=source
    )


def _host_name(parts: SplitResult, host: str) -> str:
    below = [part for part in parts.path.split("/") if part and part not in _COMMON_PATHS]
    if below and parts.path.startswith("/@"):
        return "-".join(below)
    labels = host.split(".")
    if re.fullmatch(r"[0-9.]+", host) or len(labels) == 1:
        return host
    named = [label for label in labels[:-1] if label not in _COMMON_HOST_WORDS]
    return named[-1] if named else labels[-2]
