"""The one error tree.

    Fault                    raised by             caught by                 the user reads
    ├── UsageFault           cli, engine           cli, engine/conversation  what was wrong; exit 2
    ├── ConfigFault          config, secrets       cli, assembly             file, line, key; exit 2
    ├── ProviderFault        providers             providers (into Failed)   what to do; exit 3
    ├── PermissionFault      engine, mcp           cli                       the flag; exit 4
    ├── LimitFault           billing               engine/turn, cli          which limit; exit 5
    ├── StoreFault           store                 engine, cli               what is safe; exit 1
    ├── McpFault             mcp                   engine/tool_step, cli     what was tried; 1
    └── InternalFault        the named boundaries  cli                       where the log is; 1

A fault is a sentence for a person: `message` says what happened, `hint` what to do next. Neither
holds a secret or a traceback. Streams of providers do not raise: they end in `Failed`, which
carries the same data as `Failure`.
"""

from typing import ClassVar, Literal, get_args

from msgspec import Struct

FaultKind = Literal[
    "auth",
    "model_not_found",
    "rate_limit",
    "quota",
    "context_too_long",
    "content_filter",
    "overloaded",
    "network",
    "timeout",
    "cut",
    "bad_request",
    "server",
    "permission",
    "limit",
    "usage",
    "config",
    "store",
    "mcp",
    "internal",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
PROVIDER_KINDS: tuple[FaultKind, ...] = FAULT_KINDS[: FAULT_KINDS.index("server") + 1]

# The code of a `Failure` that says: this model takes no tools.
TOOLS_REFUSED = "tools_refused"
# The code of a `Failure` that says: the request did not leave.
UNSENT = "unsent"

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_PROVIDER = 3
EXIT_PERMISSION = 4
EXIT_LIMIT = 5
EXIT_INTERRUPTED = 130


def exit_code(kind: FaultKind) -> int:
    """Return the exit code of a command that failed with `kind`."""
    if kind in PROVIDER_KINDS:
        return EXIT_PROVIDER
    codes = {
        "usage": EXIT_USAGE,
        "config": EXIT_USAGE,
        "permission": EXIT_PERMISSION,
        "limit": EXIT_LIMIT,
    }
    return codes.get(kind, EXIT_ERROR)


class Failure(Struct, frozen=True, omit_defaults=True):
    """A fault as data. `retry_after` is seconds; `status` an HTTP status; `code` the provider's."""

    kind: FaultKind
    message: str
    hint: str = ""
    retry_after: float | None = None
    status: int | None = None
    code: str = ""


# Codes of faults that a wait may cure: the server was away, or gone in the middle.
TRANSIENT_CODES = ("away", "cut")


def is_transient(failure: Failure) -> bool:
    """Whether the same may go well if it is tried again a little later."""
    status = failure.status or 0
    return (
        failure.kind in ("rate_limit", "overloaded", "network", "timeout")
        or failure.code in TRANSIENT_CODES
        or status == 429
        or status >= 500
    )


class Fault(Exception):
    """Base of all errors that a user may read."""

    default_kind: ClassVar[FaultKind] = "internal"

    def __init__(
        self, message: str, *, hint: str = "", kind: FaultKind | None = None, code: str = ""
    ) -> None:
        super().__init__(message)
        self.failure = Failure(kind or self.default_kind, message, hint, code=code)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ends with this fault."""
        return exit_code(self.failure.kind)


class UsageFault(Fault):
    """The command asks for something that cannot be: a wrong flag, name or state."""

    default_kind = "usage"


class ConfigFault(Fault):
    """A configuration file or variable is wrong."""

    default_kind = "config"


class ProviderFault(Fault):
    """A model provider cannot be used or answered with an error."""

    default_kind = "server"

    @classmethod
    def of(cls, failure: Failure) -> "ProviderFault":
        """Return the exception form of `failure`."""
        fault = cls(failure.message)
        fault.failure = failure
        return fault


class PermissionFault(Fault):
    """An answer of a person was needed and nobody was there."""

    default_kind = "permission"


class LimitFault(Fault):
    """A spending limit would be passed."""

    default_kind = "limit"


class Unpriced(LimitFault):
    """What a request costs is not known, and a person is to say whether it is sent all the same."""


class StoreFault(Fault):
    """A file of the data folder cannot be read or written."""

    default_kind = "store"


class McpFault(Fault):
    """An MCP server cannot be started or reached, or answered against the protocol."""

    default_kind = "mcp"


class InternalFault(Fault):
    """A defect of Patina itself."""

    default_kind = "internal"
