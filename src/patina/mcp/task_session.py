"""What the SDK lacks to speak of tasks, in both eras. Import it late.

Of 2025-11-25: `tasks/get`, `tasks/result`, `tasks/cancel` and `notifications/tasks/status`. Of the
extension `io.modelcontextprotocol/tasks` to 2026-07-28: a call that is answered with the
`resultType` "task", `tasks/get` and `tasks/update`, and `tasks/cancel`.
"""

from itertools import count
from typing import Any, Final, Literal, NoReturn

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.extension import ClaimContext, NotificationBinding, ResultClaim
from mcp.client.session import (
    ElicitationFnT,
    IncomingMessage,
    ListRootsFnT,
    LoggingFnT,
    MessageHandlerFnT,
    SamplingFnT,
)
from mcp.shared.dispatcher import CallOptions
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import FiniteFloat

from mcp import ClientSession
from patina.mcp.dispatching import Dispatcher
from patina.model.faults import McpFault
from patina.model.questions import TaskStatus
from patina.ports.dialog import Dialog

EXTENSION: Final = "io.modelcontextprotocol/tasks"
RELATED: Final = "io.modelcontextprotocol/related-task"
_STATUS_METHOD: Final = "notifications/tasks/status"


class _Task(types.Result):
    """What both eras say of a task. Times are milliseconds; each era has its own name for them."""

    task_id: str
    status: TaskStatus
    status_message: str | None = None
    poll_interval: FiniteFloat | None = None
    poll_interval_ms: FiniteFloat | None = None

    @property
    def pause(self) -> float | None:
        """After how many seconds the server wishes to be asked again; None: it does not say."""
        wished = self.poll_interval if self.poll_interval_ms is None else self.poll_interval_ms
        return None if wished is None else wished / 1000


class CreatedTask(_Task):
    """The answer of the extension to a call that goes on as a task."""

    result_type: Literal["task"] = "task"


class Told(_Task):
    """The answer to `tasks/get`. All that it adds is of the extension only."""

    input_requests: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class CreatedOlderTask(types.Result):
    """The answer of 2025-11-25 to a call that was to go on as a task."""

    task: Told


class TaskParams(types.RequestParams):
    """Which task is meant."""

    task_id: str


class GetTask(types.Request[TaskParams, Literal["tasks/get"]]):
    """Asks how far a task is; answered by `Told`."""

    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams
    name_param = "taskId"


class GetTaskResult(types.Request[TaskParams, Literal["tasks/result"]]):
    """Asks for the result of a task, of 2025-11-25; answered once there is one."""

    method: Literal["tasks/result"] = "tasks/result"
    params: TaskParams
    name_param = "taskId"


class CancelTask(types.Request[TaskParams, Literal["tasks/cancel"]]):
    """Asks the server to end a task."""

    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: TaskParams
    name_param = "taskId"


class UpdateTaskParams(TaskParams):
    """Answers to some of the `input_requests` of a task, by their keys."""

    input_responses: types.InputResponses


class UpdateTask(types.Request[UpdateTaskParams, Literal["tasks/update"]]):
    """Answers what a task asks for, of the extension."""

    method: Literal["tasks/update"] = "tasks/update"
    params: UpdateTaskParams
    name_param = "taskId"


class Followed:
    """A task that is waited for: where its news go, and `news`, set when the server tells some."""

    def __init__(self, dialog: Dialog | None) -> None:
        self.dialog = dialog
        self.news = anyio.Event()


class TaskSession(ClientSession):
    """The SDK's session, which may also have calls carried out as tasks.

    `followed` are the tasks that are waited for, by their ids.
    """

    def __init__(
        self,
        incoming: MemoryObjectReceiveStream[SessionMessage | Exception],
        outgoing: MemoryObjectSendStream[SessionMessage],
        *,
        client_info: types.Implementation | None = None,
        message_handler: MessageHandlerFnT | None = None,
        logging_callback: LoggingFnT | None = None,
        log_level: types.LoggingLevel | None = None,
        elicitation_callback: ElicitationFnT | None = None,
        sampling_callback: SamplingFnT | None = None,
        sampling_capabilities: types.SamplingCapability | None = None,
        list_roots_callback: ListRootsFnT | None = None,
    ) -> None:
        super().__init__(
            dispatcher=Dispatcher(incoming, outgoing),
            client_info=client_info,
            message_handler=self._take,
            logging_callback=logging_callback,
            log_level=log_level,
            elicitation_callback=elicitation_callback,
            sampling_callback=sampling_callback,
            sampling_capabilities=sampling_capabilities,
            list_roots_callback=list_roots_callback,
            extensions={EXTENSION: {}},
            result_claims={EXTENSION: (_CLAIM,)},
            notification_bindings=(
                NotificationBinding(
                    method=_STATUS_METHOD, params_type=_StatusParams, handler=self._wake
                ),
            ),
        )
        self.followed: dict[str, Followed] = {}
        self._incoming = incoming
        self._pass_on = message_handler
        self._tokens = count(1)
        self._in_progress: dict[str | int, Dialog] = {}

    @property
    def is_cut(self) -> bool:
        """Whether the link was lost: nothing more can come from the server."""
        return not self._incoming.statistics().open_send_streams

    @property
    def speaks_extension(self) -> bool:
        """Whether tasks are those of the extension, and not those of 2025-11-25."""
        return self.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def takes_tasks(self) -> bool:
        """Whether the server lets a call ask to become a task, as 2025-11-25 has it."""
        capabilities = self.server_capabilities
        tasks = capabilities.tasks if capabilities is not None else None
        requests = tasks.requests if tasks is not None else None
        return (
            not self.speaks_extension
            and requests is not None
            and requests.tools is not None
            and requests.tools.call is not None
        )

    def dialog_of(self, meta: types.RequestParamsMeta | None) -> Dialog | None:
        """Return where the call is heard whose task a request of the server belongs to.

        `meta` is the `_meta` of the request. None: it belongs to no task that is waited for.
        """
        related = dict(meta or {}).get(RELATED)
        task_id = related.get("taskId") if isinstance(related, dict) else None
        followed = self.followed.get(task_id) if isinstance(task_id, str) else None
        return followed.dialog if followed is not None else None

    def begin_progress(self, dialog: Dialog) -> str:
        """Return a token for progress that goes to `dialog`, until `end_progress`.

        The SDK's own ends with the answer to a request; that of a task lives as long as the task.
        """
        token = f"task-{next(self._tokens)}"
        self._in_progress[token] = dialog
        return token

    def end_progress(self, token: str) -> None:
        """Hear no more of the progress with `token`."""
        self._in_progress.pop(token, None)

    async def call_as_task(
        self, tool: str, arguments: dict[str, Any], ttl: int, token: str
    ) -> dict[str, Any]:
        """Ask for `tool` to be run as a task of 2025-11-25, kept for `ttl` milliseconds.

        Returns the answer as it came: `send_request` would refuse that of a task. Raises
        `MCPError`.
        """
        params: dict[str, Any] = {"name": tool, "arguments": arguments, "task": {"ttl": ttl}}
        if token:
            params["_meta"] = {"progressToken": token}
        data: dict[str, Any] = {"method": "tools/call", "params": params}
        options: CallOptions = {}
        self._stamp(data, options)
        return await self._dispatcher.send_raw_request("tools/call", data["params"], options)

    async def _take(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ProgressNotification):
            params = message.params
            dialog = self._in_progress.get(params.progress_token)
            if dialog is not None:
                dialog.progress(params.progress, params.total, params.message or "")
        if self._pass_on is not None:
            await self._pass_on(message)

    async def _wake(self, params: "_StatusParams") -> None:
        followed = self.followed.get(params.task_id)
        if followed is not None:
            followed.news.set()


class _StatusParams(types.NotificationParams):
    """All that is read of `notifications/tasks/status`: `tasks/get` says the rest."""

    task_id: str


async def _unresolved(_: CreatedTask, __: ClaimContext) -> NoReturn:
    # Only the SDK's `Client` resolves claims; here the caller of `call_tool` does.
    raise McpFault("A task is followed by whoever called the tool.")


_CLAIM: Final = ResultClaim(result_type="task", model=CreatedTask, resolve=_unresolved)
