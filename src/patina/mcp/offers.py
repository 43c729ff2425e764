"""What a server offers beside tools, asked for and put into Patina's shapes. Import it late."""

import re
from typing import Final

import mcp_types as types

from mcp import MCPError
from patina.mcp.definitions import Offers
from patina.mcp.sdk import Session
from patina.ports.features import PromptArgument, PromptInfo, ResourceInfo, TemplateInfo

# An expression of a template (RFC 6570): an operator, then variables with their modifiers.
_EXPRESSION: Final = re.compile(r"\{[+#./;?&=,!@|]?([^{}]*)\}")
_MODIFIER: Final = re.compile(r"(\*|:\d+)$")


async def offers_of(session: Session, server: str) -> Offers:
    """Ask for resources, templates and prompts, of what the server says it has.

    Raises `McpFault` or `MCPError` where one of the lists cannot be had.
    """
    capabilities = session.server_capabilities
    has_resources = capabilities is None or capabilities.resources is not None
    has_prompts = capabilities is None or capabilities.prompts is not None
    return Offers(
        resources=await _resources(session, server) if has_resources else (),
        templates=await _templates(session, server) if has_resources else (),
        prompts=await _prompts(session, server) if has_prompts else (),
    )


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
