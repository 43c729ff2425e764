"""What a server offers beside tools, asked for and put into Patina's shapes. Import it late."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import mcp_types as types

from mcp import MCPError
from patina.mcp.definitions import Offers
from patina.mcp.sdk import Session
from patina.model.faults import McpFault
from patina.ports.features import PromptArgument, PromptInfo, ResourceInfo, TemplateInfo

# An expression of a template (RFC 6570): an operator, then variables with their modifiers.
_EXPRESSION: Final = re.compile(r"\{[+#./;?&=,!@|]?([^{}]*)\}")
_MODIFIER: Final = re.compile(r"(\*|:\d+)$")
T = TypeVar("T")


async def offers_of(session: Session, server: str, before: Offers | None = None) -> Offers:
    """Ask for resources, templates and prompts, of what the server says it has.

    Of a list that cannot be had, what is in `before` stands, and the server's log says so. Raises
    `McpFault` or `MCPError` where none can be had, or the link was lost.
    """
    capabilities = session.server_capabilities
    has_resources = capabilities is None or capabilities.resources is not None
    has_prompts = capabilities is None or capabilities.prompts is not None
    before = before if before is not None else Offers()
    faults: list[MCPError | McpFault] = []

    async def had(
        ask: Callable[[Session, str], Awaitable[tuple[T, ...]]], stands: tuple[T, ...]
    ) -> tuple[T, ...]:
        try:
            return await ask(session, server)
        except (MCPError, McpFault) as error:
            if session.is_cut:
                raise
            session.log(f"one of its lists cannot be had: {error}")
            faults.append(error)
            return stands

    offers = Offers(
        resources=await had(_resources, before.resources) if has_resources else (),
        templates=await had(_templates, before.templates) if has_resources else (),
        prompts=await had(_prompts, before.prompts) if has_prompts else (),
    )
    if faults and len(faults) == 2 * has_resources + has_prompts:
        raise faults[0]
    return offers


async def _resources(session: Session, server: str) -> tuple[ResourceInfo, ...]:
    listed = await session.listing.all("resources/list", "resources", types.Resource, "resources")
    infos = {
        resource.uri: ResourceInfo(
            server=server,
            uri=resource.uri,
            name=resource.name,
            title=resource.title or "",
            description=resource.description or "",
            media_type=resource.mime_type or "",
            size=resource.size,
        )
        for resource in reversed(listed)
    }
    return tuple(reversed(infos.values()))


async def _templates(session: Session, server: str) -> tuple[TemplateInfo, ...]:
    try:
        listed = await session.listing.all(
            "resources/templates/list", "resourceTemplates", types.ResourceTemplate, "templates"
        )
    except MCPError as error:
        if error.code != types.METHOD_NOT_FOUND:  # many servers have resources only
            raise
        return ()
    return tuple(
        TemplateInfo(
            server=server,
            template=template.uri_template,
            name=template.name,
            arguments=variables(template.uri_template),
            title=template.title or "",
            description=template.description or "",
            media_type=template.mime_type or "",
        )
        for template in listed
    )


def variables(template: str) -> tuple[str, ...]:
    """Return the variables of a URI template, each once, in their order."""
    found: dict[str, None] = {}
    for inside in _EXPRESSION.findall(template):
        for name in inside.split(","):
            plain = _MODIFIER.sub("", name.strip())
            if plain:
                found[plain] = None
    return tuple(found)


async def _prompts(session: Session, server: str) -> tuple[PromptInfo, ...]:
    listed = await session.listing.all("prompts/list", "prompts", types.Prompt, "prompts")
    return tuple(
        PromptInfo(
            server=server,
            name=prompt.name,
            title=prompt.title or "",
            description=prompt.description or "",
            arguments=tuple(
                PromptArgument(
                    name=argument.name,
                    description=argument.description or "",
                    required=bool(argument.required),
                )
                for argument in prompt.arguments or ()
            ),
        )
        for prompt in listed
    )
