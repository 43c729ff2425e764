"""A session with a server. Import it late and in a worker thread: about half a second.

Facts about the SDK: `mcp` 2.3 on PyPI.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import anyio
import mcp_types as types
import msgspec
from mcp.client import ClientRequestContext, IncomingMessage
from mcp.shared.dispatcher import CallOptions, DispatchContext, ProgressFnT
from mcp.shared.transport_context import TransportContext
from mcp_types import CONNECTION_CLOSED, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp import MCPError
from patina import __version__
from patina.mcp import asking
from patina.mcp.behalf import Calls
from patina.mcp.definitions import Definition
from patina.mcp.failing import wants_sign_in
from patina.mcp.hosting import Host
from patina.mcp.paging import Listing
from patina.mcp.rounds import to_the_end
from patina.mcp.task_session import CreatedTask, TaskSession
from patina.mcp.tasks import follow_task, resume_task, run_task
from patina.mcp.transports.link import Link
from patina.model.faults import Fault, McpFault
from patina.model.masking import Mask, masked, masked_json
from patina.ports.dialog import Dialog

# A server of the older era may ignore the question instead of refusing it.
_DISCOVER_WAIT: Final = 4.0

# All that a server, by what it sends or does, can make the session raise.
FAILURES: Final = (
    MCPError,
    ValidationError,
    McpFault,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    ExceptionGroup,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)

_Stamp = Callable[[dict[str, Any], CallOptions], None]


class Session(TaskSession):
    """The SDK's session over a link, with Patina's own bounds and words.

    `list_changed` is set when the server says that its tools changed, `offers_changed` when it
    says so of resources or prompts. `calls` are those in flight, to whose people the server's
    questions go; a question that belongs to none is declined.
    """

    def __init__(self, link: Link, host: Host | None = None) -> None:
        super().__init__(
            link.incoming,
            link.outgoing,
            client_info=types.Implementation(name="patina", version=__version__),
            message_handler=self._notice,
            logging_callback=self._log_message,
            log_level="info",
            elicitation_callback=self._elicit,
            sampling_callback=self._sample,
            sampling_capabilities=types.SamplingCapability(tools=types.SamplingToolsCapability()),
            list_roots_callback=self._list_roots,
        )
        self._link = link
        self._host = host if host is not None else Host()
        self._visits: dict[str, anyio.Event] = {}
        self.calls = Calls()
        self.list_changed = anyio.Event()
        self.offers_changed = anyio.Event()
        self.heard = 0.0  # when it last spoke by itself, by the clock of the event loop

    @property
    def modern(self) -> bool:
        """Whether the server speaks the stateless era."""
        return self.protocol_version in MODERN_PROTOCOL_VERSIONS

    def adopt(self, result: types.InitializeResult | types.DiscoverResult) -> None:
        """As the SDK's; from then on requests are known by the call that they are made for."""
        if result.instructions:
            words = self._host.mask(result.instructions)
            result = result.model_copy(update={"instructions": words})
        super().adopt(result)
        self._stamp = partial(_stamped, self._stamp, self.calls)

    def log(self, text: str) -> None:
        """Write into the server's log."""
        self._link.log(text)

    async def ping(self) -> None:
        """Ask for nothing but an answer. Raises `MCPError` or `ValidationError`."""
        if self.modern:
            await self.send_discover(self.protocol_version or "")
        else:
            await self.send_ping()

    async def _on_request(
        self,
        dctx: DispatchContext[TransportContext],
        method: str,
        params: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        self.heard = anyio.current_time()
        self.calls.hear(dctx.message_metadata)
        return await super()._on_request(dctx, method, params)

    async def _on_notify(
        self,
        dctx: DispatchContext[TransportContext],
        method: str,
        params: Mapping[str, Any] | None,
    ) -> None:
        self.calls.hear(dctx.message_metadata)
        await super()._on_notify(dctx, method, params)

    async def _log_message(self, params: types.LoggingMessageNotificationParams) -> None:
        self.heard = anyio.current_time()
        data = params.data
        text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
        text = self._host.mask(text)
        self._link.log(f"{params.level}: {text}")
        dialog = self.calls.dialog()
        if dialog is not None:
            dialog.log(params.level, text)

    async def _notice(self, message: IncomingMessage) -> None:
        self.heard = anyio.current_time()
        if isinstance(message, types.ToolListChangedNotification):
            self.list_changed.set()
        elif isinstance(
            message, types.ResourceListChangedNotification | types.PromptListChangedNotification
        ):
            self.offers_changed.set()
        elif isinstance(message, types.ResourceUpdatedNotification):
            if self._host.subscribed:
                self._host.on_resource(message.params.uri)
        elif isinstance(message, types.ElicitCompleteNotification):
            done = self._visits.get(message.params.elicitation_id)
            if done is not None:
                done.set()

    @contextmanager
    def visit(self, elicitation_id: str | None) -> Iterator[anyio.Event]:
        """Yield an event that is set when the server says that a visit to a page is over."""
        done = anyio.Event()
        if elicitation_id is None:
            yield done
            return
        self._visits[elicitation_id] = done
        try:
            yield done
        finally:
            self._visits.pop(elicitation_id, None)

    def _dialog(self, context: ClientRequestContext) -> Dialog | None:
        return self.dialog_of(context.meta) or self.calls.dialog()

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        dialog = self._dialog(context)
        if dialog is None:
            self._link.log(f"asked a question, which was declined. {asking.UNHEARD}")
            return types.ElicitResult(action="decline")
        asked = masked(asking.asked_of(params), self._host.mask)
        return asking.elicited(await dialog.ask(asked), asked)

    async def _sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools | types.ErrorData:
        dialog = self._dialog(context)
        if dialog is None:
            self._link.log(f"asked for a model, and got none. {asking.UNHEARD}")
            return types.ErrorData(code=types.INVALID_REQUEST, message=asking.UNHEARD)
        try:
            prompt = await asking.sampling_of(params, self._host.put_blob)
            prompt = masked(prompt, self._host.mask)
            sampled = await dialog.sample(self._host.server, prompt)
        except Fault as fault:
            return asking.refusal(fault)
        return asking.sampled_result(sampled, has_tools=bool(prompt.tools))

    async def _list_roots(self, context: ClientRequestContext) -> types.ListRootsResult:
        return asking.roots_of(self._host.roots())

    async def tell_roots(self) -> None:
        """Say that the folders the user chose are others now. The newer era has no word for it."""
        if not self.modern:
            await self.send_notification(types.RootsListChangedNotification())

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        """Let every result pass: one that breaks its schema is still worth reading."""

    async def negotiate(self, protocol: str) -> str:
        """Agree on a protocol version with the server and return it.

        `protocol` is "auto", or a version: of the stateless era, or else of the handshake.
        Raises `MCPError`, `RuntimeError` or `ValidationError`.
        """
        if protocol == "auto":
            await self._discover_or_initialize()
        elif protocol in MODERN_PROTOCOL_VERSIONS:
            await self.discover()
        else:
            await self._initialize()
        return self.protocol_version or ""

    async def _discover_or_initialize(self) -> None:
        try:
            with anyio.fail_after(_DISCOVER_WAIT):
                await self.discover()
                return
        except MCPError as error:
            if error.code == CONNECTION_CLOSED and self._link.ended.is_set():
                raise
            if wants_sign_in(error):
                raise  # whatever is asked
        except (TimeoutError, RuntimeError, ValidationError):
            pass
        await self._initialize()

    async def _initialize(self) -> None:
        try:
            await self.initialize()
        except MCPError as error:
            # A slow server may have taken our question late, and speak the newer era only now.
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
            await self.discover()

    async def ask_raw(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask and return the answer as it came. Raises `MCPError`."""
        data: dict[str, Any] = {"method": method, "params": params}
        options: CallOptions = {}
        self._stamp(data, options)
        return await self._dispatcher.send_raw_request(method, data["params"], options)

    @property
    def listing(self) -> Listing:
        """Reads lists of the server, without those of their entries that are wrong."""
        return Listing(self._ask_masked, self._link.log)

    async def _ask_masked(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return masked_json(await self.ask_raw(method, params), self._host.mask)

    async def definitions(self) -> tuple[Definition, ...]:
        """Return all tools, page by page. Raises `McpFault` where the paging has no end."""
        capabilities = self.server_capabilities
        if capabilities is not None and capabilities.tools is None:
            return ()
        tools = await self.listing.all("tools/list", "tools", types.Tool, "tools")
        whole = types.ListToolsResult(tools=tools)
        kept = self._absorb_tool_listing(whole, complete=True).tools
        found: dict[str, Definition] = {}
        for tool in kept:
            found.setdefault(tool.name, _definition(tool, tasks=self.takes_tasks))
        return tuple(found.values())

    async def run_tool(
        self,
        tool: str,
        arguments: dict[str, Any],
        dialog: Dialog | None = None,
        *,
        as_task: bool = False,
    ) -> types.CallToolResult:
        """Call `tool` and return what it said, whatever the server asks before.

        What it tells and asks meanwhile goes to `dialog`. `as_task`: it only runs as a task.
        Raises `MCPError`, `ValidationError` or `McpFault`, of which `tasks.Parted` is one.
        """
        with self.calls.on_behalf(dialog):
            if as_task and self.takes_tasks:
                return await run_task(self, tool, arguments, dialog, server=self._host.server)
            result = await to_the_end(
                self,
                lambda responses, state: self.call_tool(
                    tool,
                    arguments,
                    progress_callback=_progress_to(dialog, self._host.mask),
                    input_responses=responses,
                    request_state=state,
                    allow_input_required=True,
                    allow_claimed=True,
                ),
            )
            if isinstance(result, CreatedTask):
                return await follow_task(self, result, dialog, server=self._host.server)
            if isinstance(result, types.CallToolResult):
                return result
        raise McpFault("its answer is of a kind that Patina does not know")

    async def read(self, uri: str, dialog: Dialog | None = None) -> types.ReadResourceResult:
        """Read a resource. Raises as `run_tool`."""
        with self.calls.on_behalf(dialog):
            return await to_the_end(
                self,
                lambda responses, state: self.read_resource(
                    uri, input_responses=responses, request_state=state, allow_input_required=True
                ),
            )

    async def prompt(
        self, name: str, arguments: dict[str, str], dialog: Dialog | None = None
    ) -> types.GetPromptResult:
        """Run a prompt. Raises as `run_tool`."""
        with self.calls.on_behalf(dialog):
            return await to_the_end(
                self,
                lambda responses, state: self.get_prompt(
                    name,
                    arguments,
                    input_responses=responses,
                    request_state=state,
                    allow_input_required=True,
                ),
            )

    async def completed(
        self, argument: str, value: str, *, prompt: str, template: str, known: dict[str, str]
    ) -> types.Completion | None:
        """Return values for an argument of a prompt or template; None where it completes nothing.

        Raises `MCPError` or `ValidationError`.
        """
        capabilities = self.server_capabilities
        if capabilities is not None and capabilities.completions is None:
            return None
        ref: types.PromptReference | types.ResourceTemplateReference
        ref = types.PromptReference(name=prompt)
        if template:
            ref = types.ResourceTemplateReference(uri=template)
        asked = {"name": argument, "value": value}
        try:
            return (await self.complete(ref, asked, known or None)).completion
        except MCPError as error:
            if error.code != types.METHOD_NOT_FOUND:
                raise
            return None

    async def resume_task(self, task_id: str, dialog: Dialog | None = None) -> types.CallToolResult:
        """Wait for the end of a task that was begun before. Raises as `run_tool`."""
        with self.calls.on_behalf(dialog):
            return await resume_task(self, task_id, dialog, server=self._host.server)


def _stamped(stamp: _Stamp, calls: Calls, data: dict[str, Any], options: CallOptions) -> None:
    stamp(data, options)
    calls.mark(options)


def _progress_to(dialog: Dialog | None, mask: Mask) -> ProgressFnT | None:
    if dialog is None:
        return None

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        dialog.progress(progress, total, mask(message or ""))

    return tell


def _definition(tool: types.Tool, *, tasks: bool) -> Definition:
    notes = tool.annotations
    task = tool.execution.task_support if tool.execution is not None and tasks else None
    title = tool.title or (notes.title if notes else None) or ""
    return Definition(
        name=tool.name,
        title=title,
        description=tool.description or "",
        schema=tool.input_schema,
        output_schema=tool.output_schema,
        read_only=notes.read_only_hint if notes else None,
        destructive=notes.destructive_hint if notes else None,
        idempotent=notes.idempotent_hint if notes else None,
        open_world=notes.open_world_hint if notes else None,
        task=task or "forbidden",
    )
