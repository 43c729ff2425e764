"""Resources and prompts of servers."""

from typing import Protocol

from msgspec import Struct

from patina.model.parts import ResultPart, Spoken
from patina.ports.dialog import Dialog


class ResourceInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A resource that a server offers, in its words. `size` is bytes where it says so."""

    server: str
    uri: str
    name: str
    title: str = ""
    description: str = ""
    media_type: str = ""
    size: int | None = None


class TemplateInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Resources that are found by filling in a URI template (RFC 6570). `arguments` are its
    variables, in their order.
    """

    server: str
    template: str
    name: str
    arguments: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    media_type: str = ""


class PromptArgument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value that a prompt takes."""

    name: str
    description: str = ""
    required: bool = False


class PromptInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt that a server offers; a person runs it as `/server:name key=value`."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


class Content(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One content of a resource that was read. Bytes that are no text stand in a blob."""

    uri: str
    part: ResultPart
    media_type: str = ""


class Completion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Values that would fit, at most 100 of `total` (None: the server does not say)."""

    values: tuple[str, ...] = ()
    total: int | None = None


class Features(Protocol):
    """What servers offer beside tools. Lists come from the cache where a server was seen before.

    `servers` None means all enabled ones, of which those that are not ready are left out; a name
    that is not configured raises `UsageFault`, one that needs consent `PermissionFault`. All else
    that goes wrong is an `McpFault`. Everything is bounded.
    """

    async def resources(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[ResourceInfo, ...]:
        """Return the resources, by server and in its order."""

    async def templates(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[TemplateInfo, ...]:
        """Return the templates of resources."""

    async def prompts(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[PromptInfo, ...]:
        """Return the prompts."""

    async def read(
        self, server: str, uri: str, dialog: Dialog | None = None
    ) -> tuple[Content, ...]:
        """Read a resource."""

    async def prompt(
        self, server: str, name: str, arguments: dict[str, str], dialog: Dialog | None = None
    ) -> tuple[Spoken, ...]:
        """Run a prompt and return what it says, oldest first; at least one message."""

    async def complete(
        self,
        server: str,
        *,
        argument: str,
        value: str,
        prompt: str = "",
        template: str = "",
        known: dict[str, str] | None = None,
    ) -> Completion:
        """Return values for an argument of a prompt, or of a template, that begin as `value` does.

        `known` are the arguments that have their values already. Empty where the server completes
        nothing.
        """

    async def subscribe(self, server: str, uri: str) -> None:
        """Be told of changes of a resource, by the event `resource.changed`."""

    async def unsubscribe(self, server: str, uri: str) -> None:
        """Be told no more."""

    def costs(self) -> dict[str, int]:
        """Return, by server, how many tokens its tools' names, descriptions and schemas cost each
        request, estimated.
        """
