"""The environment with what `.env` files add below it; every name knows where it comes from."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from patina.config.paths import Paths
from patina.model.faults import ConfigFault
from patina.model.settings import Source

MAX_ENV_FILE = 1_000_000


class Layer(Struct, frozen=True):
    """Variables of one origin: the process ("environment") or one file (".env" and its path).

    `trusted` is False for the working directory's `.env`, which may belong to a stranger.
    """

    kind: Literal["environment", ".env"]
    values: Mapping[str, str]
    where: str = ""
    trusted: bool = True


class Environment(Mapping[str, str]):
    """Variables by name, the first layer that has one wins. An empty value counts as missing.

    `process` is the real environment alone, for what no file may decide. `warnings` are
    sentences about lines that were skipped.
    """

    def __init__(self, layers: tuple[Layer, ...], warnings: tuple[str, ...] = ()) -> None:
        self._layers = layers
        self.process: Mapping[str, str] = next(
            (layer.values for layer in layers if layer.kind == "environment"), {}
        )
        self.warnings = warnings

    def __getitem__(self, name: str) -> str:
        layer = self.layer(name)
        if layer is None:
            raise KeyError(name)
        return layer.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(
            {name for layer in self._layers for name, value in layer.values.items() if value}
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def layer(self, name: str) -> Layer | None:
        """Return the layer that decides about `name`."""
        return next((layer for layer in self._layers if layer.values.get(name)), None)

    def source(self, name: str) -> Source | None:
        """Return where `name` comes from: `where` is the variable, or file and variable."""
        layer = self.layer(name)
        if layer is None:
            return None
        return Source(layer.kind, f"{layer.where}:{name}" if layer.where else name)

    def trusted(self, name: str) -> str:
        """Return the value of `name` that is not from the working directory, or ""."""
        values = (layer.values.get(name) for layer in self._layers if layer.trusted)
        return next((value for value in values if value), "")


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process alone."""
    return os.environ


def read_environment(
    paths: Paths,
    *,
    env_file: Path | None = None,
    folder: Path | None = None,
    process: Mapping[str, str] | None = None,
) -> Environment:
    """Return the environment of this process over `env_file` (`--env-file`), over the `.env` of
    the working directory `folder`, over that of the Patina folder.

    Raises `ConfigFault` where `env_file` or the Patina folder's file cannot be read; a strange
    file in the working directory only gives warnings, since it may be another program's.
    """
    layers = [Layer("environment", os.environ if process is None else process)]
    warnings: list[str] = []
    if env_file is not None:
        layers.append(Layer(".env", _read(env_file), str(env_file)))
    local = (folder or _working_directory(warnings)) / ".env"
    own = os.path.realpath(paths.env_file)
    if _is_file(local) and os.path.realpath(local) != own:
        try:
            values = _read(local, warnings)
        except ConfigFault as fault:
            warnings.append(f"{fault.failure.message} It was left out.")
        else:
            layers.append(Layer(".env", values, str(local), trusted=False))
    if _is_file(paths.env_file):
        layers.append(Layer(".env", _read(paths.env_file), str(paths.env_file)))
    return Environment(tuple(layers), tuple(warnings))


def _working_directory(warnings: list[str]) -> Path:
    try:
        return Path.cwd()
    except OSError:
        warnings.append("The working directory does not exist any more.")
        return Path(os.devnull)


def _is_file(path: Path) -> bool:
    # Not a pipe or a device: reading one could wait for ever.
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path, warnings: list[str] | None = None) -> dict[str, str]:
    """Return the variables in the file. Without `warnings`, a strange line is a `ConfigFault`.

    Values stay as they are written: no `${NAME}` is filled in. Otherwise a stranger's file could
    put a key of this user into an address.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ENV_FILE + 1)
    except OSError as error:
        raise ConfigFault(
            f"{path} cannot be read: {error.strerror}.", hint="Check its name and permissions."
        ) from None
    if len(content) > MAX_ENV_FILE:
        raise ConfigFault(f"{path} is over {MAX_ENV_FILE} bytes: too large for a .env file.")
    import io

    from dotenv.parser import parse_stream

    values = {}
    for binding in parse_stream(io.StringIO(_text(path, content))):
        if binding.key is not None and binding.value is not None and not binding.error:
            values[binding.key] = binding.value
        elif binding.error:
            message = f"{path} line {binding.original.line}: not NAME=value."
            if warnings is None:
                raise ConfigFault(message, hint="Correct the line, or put a # before it.")
            warnings.append(message)
    return values


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigFault(
            f"{path} line {line}: not UTF-8 text.", hint="Save it as UTF-8."
        ) from None
