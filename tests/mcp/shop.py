"""A server of the SDK that offers all there is, in both eras, and somebody who answers it."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import mcp_types as types
import pytest
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from tests.mcp.house import House

from patina.mcp.supervisor import Supervisor
from patina.mcp.transports.inprocess import PIXEL
from patina.mcp.transports.link import Link, Opener, load_sdk
from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState
from patina.model.settings import ServerSettings

OLDER, NEWER = "2025-11-25", "2026-07-28"
ERAS: Final = pytest.mark.parametrize("era", [OLDER, NEWER])
Context = ServerRequestContext[Any]
FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": ["red", "green"]}},
    "required": ["color"],
}
PAGE: Final = "https://login.example/start?x=1"
PROMPT: Final[dict[str, Any]] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "Say hello."}}],
    "maxTokens": 50,
}


class Person:
    """A dialog that notes what it is told and asked. `answers` are given in turn, then the last."""

    present = True

    def __init__(self, *answers: Answered, sampled: Sampled | Exception | None = None) -> None:
        self.steps: list[tuple[float, float | None, str]] = []
        self.logs: list[tuple[str, str]] = []
        self.asked: list[Asked] = []
        self.prompts: list[tuple[str, Sampling]] = []
        self.withdrawn = 0
        self.hold: anyio.Event | None = None
        self._answers = list(answers) or [Answered(action="accept", content={"color": "red"})]
        self._sampled = sampled

    def progress(self, done: float, total: float | None, text: str) -> None:
        self.steps.append((done, total, text))

    def log(self, level: str, text: str) -> None:
        self.logs.append((level, text))

    async def ask(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if self.hold is not None and len(self._answers) == 1:
            try:
                await self.hold.wait()
            except anyio.get_cancelled_exc_class():
                self.withdrawn += 1
                raise
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        self.prompts.append((server, prompt))
        if isinstance(self._sampled, Sampled):
            return self._sampled
        assert self._sampled is not None
        raise self._sampled

    async def task(self, state: TaskState) -> None:
        raise AssertionError(state)

    def keeps_task(self) -> bool:
        return False


def text(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=words)])


class Shop:
    """What the server offers; it may change while it runs. `seen` has the parameters it got."""

    def __init__(self) -> None:
        self.resources = {"demo://one": "first", "demo://two": "second"}
        self.prompts: tuple[str, ...] = ("greet",)
        self.seen: list[Any] = []
        self.subscribed: list[str] = []
        self.reads: list[str] = []
        self.lists = 0
        self.roots_changed = 0
        self.visited = False
        self.page = 1
        self.held = anyio.Event()
        self.sessions: list[Any] = []
        self.link: Link | None = None
        self.bus = InMemorySubscriptionBus()

    @property
    def opener(self) -> Opener:
        @asynccontextmanager
        async def open_link() -> AsyncGenerator[Link]:
            await load_sdk()
            self.link = link = Link("a shop")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, link)
                try:
                    yield link
                finally:
                    tasks.cancel_scope.cancel()
                    link.close()

        return open_link

    async def _serve(self, link: Link) -> None:
        incoming, outgoing = link.other_end()
        server = self.server()
        every = NotificationOptions(
            prompts_changed=True, resources_changed=True, tools_changed=True
        )
        await server.run(incoming, outgoing, server.create_initialization_options(every))

    def supervisor(self, house: House, era: str, **more: Any) -> Supervisor:
        settings = ServerSettings(command="unused", protocol_version=era, **more)
        return house.supervisor({"s": settings}, openers={"s": self.opener})

    async def tell(self, event: ServerEvent) -> None:
        """Tell of a change, in the words of the era."""
        await self.bus.publish(event)
        for session in self.sessions[-1:]:
            if isinstance(event, ResourcesListChanged):
                await session.send_resource_list_changed()
            elif isinstance(event, PromptsListChanged):
                await session.send_prompt_list_changed()
            elif isinstance(event, ResourceUpdated):
                await session.send_resource_updated(event.uri)

    def server(self) -> Server[Any]:
        return Server(
            "shop",
            version="1",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_subscriptions_listen=ListenHandler(self.bus),
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._prompt,
            on_completion=self._complete,
            on_roots_list_changed=self._roots,
        )

    async def _roots(self, context: Context, params: Any) -> None:
        self.roots_changed += 1

    async def _list_tools(self, context: Context, params: Any) -> Any:
        self.sessions.append(context.session)
        names = sorted(name[5:] for name in dir(self) if name.startswith("tool_"))
        return types.ListToolsResult(
            tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in names]
        )

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> Any:
        self.seen.append(params)
        return await getattr(self, f"tool_{params.name}")(context, params)

    async def tool_talks(self, context: Context, params: Any) -> Any:
        for step in range(3):
            await context.session.report_progress(step, 2, f"step {step}")
        await context.session.send_log_message(level="info", data={"a": 1})
        return text("done")

    async def tool_form(self, context: Context, params: types.CallToolRequestParams) -> Any:
        return await self._asking(
            context, params, types.ElicitRequestFormParams(message="Which?", requested_schema=FORM)
        )

    async def tool_asks_later(self, context: Context, params: types.CallToolRequestParams) -> Any:
        await self.held.wait()
        return await self.tool_form(context, params)

    async def tool_page(self, context: Context, params: types.CallToolRequestParams) -> Any:
        number = None if context.protocol_version == NEWER else "n-1"
        page = types.ElicitRequestURLParams(message="Sign in", url=PAGE, elicitation_id=number)
        return await self._asking(context, params, page)

    async def _asking(self, context: Context, params: Any, asked: Any) -> Any:
        request = types.ElicitRequest(params=asked)
        told = await self._told(context, params, request, types.ElicitResult)
        if isinstance(told, types.InputRequiredResult):
            return told
        return text(f"{told.action} {json.dumps(told.content)}")

    async def tool_sample(self, context: Context, params: types.CallToolRequestParams) -> Any:
        wanted = {**PROMPT, **(params.arguments or {})}
        request = types.CreateMessageRequest(
            params=types.CreateMessageRequestParams.model_validate(wanted)
        )
        kind = types.CreateMessageResultWithTools
        told = await self._told(context, params, request, kind)
        if isinstance(told, types.InputRequiredResult):
            return told
        return text(told.model_dump_json(by_alias=True, exclude_none=True))

    async def tool_roots(self, context: Context, params: types.CallToolRequestParams) -> Any:
        told = await self._told(context, params, types.ListRootsRequest(), types.ListRootsResult)
        if isinstance(told, types.InputRequiredResult):
            return told
        return text(json.dumps([[str(root.uri), root.name] for root in told.roots]))

    async def _told(self, context: Context, params: Any, request: Any, kind: Any) -> Any:
        """Ask in the way of the era."""
        if context.protocol_version != NEWER:
            return await context.session.send_request(request, kind)
        if params.request_state is None:
            return types.InputRequiredResult(
                input_requests={"it": request}, request_state='{"ä": "  \\u00e4"}'
            )
        assert params.request_state == '{"ä": "  \\u00e4"}'
        return params.input_responses["it"]

    async def tool_endless(self, context: Context, params: Any) -> Any:
        return types.InputRequiredResult(request_state=str(len(self.seen)))

    async def tool_gated(self, context: Context, params: Any) -> Any:
        if not self.visited:
            raise UrlElicitationRequiredError(
                [types.ElicitRequestURLParams(message="Sign in", url=PAGE, elicitation_id="g-1")]
            )
        return text("in")

    async def tool_withdraws(self, context: Context, params: Any) -> Any:
        asked = types.ElicitRequestFormParams(message="Which?", requested_schema=FORM)
        with anyio.move_on_after(0.3):
            await context.session.send_request(
                types.ElicitRequest(params=asked), types.ElicitResult
            )
        return text("never mind")

    async def tool_waits(self, context: Context, params: Any) -> Any:
        await self.held.wait()
        return text("done")

    async def _list_resources(self, context: Context, params: Any) -> Any:
        self.lists += 1
        uris = list(self.resources)
        start = int(params.cursor) if params is not None and params.cursor else 0
        end = start + self.page
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=uri, name=uri[7:], mime_type="text/plain", size=5)
                for uri in uris[start:end]
            ],
            next_cursor=str(end) if end < len(uris) else None,
        )

    async def _list_templates(self, context: Context, params: Any) -> Any:
        template = types.ResourceTemplate(uri_template="demo://{kind}/{+path}{?a,b*}", name="any")
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        self.reads.append(params.uri)
        if params.uri == "demo://asks":
            asked = types.ElicitRequestFormParams(message="Which?", requested_schema=FORM)
            request = types.ElicitRequest(params=asked)
            told = await self._told(context, params, request, types.ElicitResult)
            if isinstance(told, types.InputRequiredResult):
                return told
            said: Any = types.TextResourceContents(uri=params.uri, text=f"{told.content}")
            return types.ReadResourceResult(contents=[said])
        if params.uri == "demo://both":
            contents: list[Any] = [
                types.TextResourceContents(uri=params.uri, text="words", mime_type="text/plain"),
                types.BlobResourceContents(uri="demo://a/p.png", blob=PIXEL, mime_type="image/png"),
                types.BlobResourceContents(uri="demo://a/x.zip", blob="AAAA"),
            ]
            return types.ReadResourceResult(contents=contents)
        if params.uri == "demo://slow":
            await anyio.sleep_forever()
        if params.uri not in self.resources:
            raise MCPError(-32002, "Resource not found")
        words = types.TextResourceContents(uri=params.uri, text=self.resources[params.uri])
        return types.ReadResourceResult(contents=[words])

    async def _subscribe(self, context: Context, params: types.SubscribeRequestParams) -> Any:
        if params.uri not in self.resources:
            raise MCPError(types.INVALID_PARAMS, "No such resource")
        self.sessions.append(context.session)
        self.subscribed.append(f"+{params.uri}")
        return types.EmptyResult()

    async def _unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> Any:
        self.subscribed.append(f"-{params.uri}")
        return types.EmptyResult()

    async def _list_prompts(self, context: Context, params: Any) -> Any:
        if not self.prompts:
            raise MCPError(types.INTERNAL_ERROR, "The database of prompts is away")
        argument = types.PromptArgument(name="name", description="Who", required=True)
        return types.ListPromptsResult(
            prompts=[types.Prompt(name=name, arguments=[argument]) for name in self.prompts]
        )

    async def _prompt(self, context: Context, params: types.GetPromptRequestParams) -> Any:
        if params.name == "empty":
            return types.GetPromptResult(messages=[])
        name = (params.arguments or {}).get("name", "")
        link = types.ResourceLink(uri="demo://one", name="one")
        picture = types.ImageContent(data=PIXEL, mime_type="image/png")
        resource = types.TextResourceContents(uri="demo://two", text="second")
        contents: list[tuple[Any, Any]] = [
            ("user", types.TextContent(text=f"Greet {name}.")),
            ("assistant", picture),
            ("user", types.EmbeddedResource(resource=resource)),
            ("user", link),
        ]
        messages = [types.PromptMessage(role=role, content=content) for role, content in contents]
        return types.GetPromptResult(messages=messages)

    async def _complete(self, context: Context, params: types.CompleteRequestParams) -> Any:
        self.seen.append(params)
        names = [f"{params.argument.value}{n}" for n in range(3)]
        return types.CompleteResult(completion=types.Completion(values=names, total=7))
