"""Calls that a server carries out as tasks: begun, polled, answered, cancelled and found again.

Import it late. Of 2025-11-25 a call asks to become a task (`run_task`); of the extension
`io.modelcontextprotocol/tasks` the server decides (`follow_task`). Both are then polled the same
way. What a task asks for comes to the callbacks of the session with the task's id in its `_meta`,
so that `TaskSession.dialog_of` says whom to ask: of 2025-11-25 as requests of the server, which may
wait for `tasks/result` to be sent; of the extension in the answers to `tasks/get`.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.client import ClientRequestContext
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
)
from pydantic import TypeAdapter, ValidationError

from mcp import MCPError
from patina.mcp.diagnosis import log_hint
from patina.mcp.dispatching import readable
from patina.mcp.failing import (
    cause,
    fault,
    sign_in_fault,
    status_of,
    wants_sign_in,
    was_unsent,
)
from patina.mcp.task_session import (
    RELATED,
    CancelTask,
    CreatedOlderTask,
    CreatedTask,
    Followed,
    GetTask,
    GetTaskResult,
    TaskParams,
    TaskSession,
    Told,
    UpdateTask,
    UpdateTaskParams,
)
from patina.mcp.text import shortened, visible
from patina.model.faults import Fault, McpFault
from patina.model.questions import TaskState, TaskStatus
from patina.ports.dialog import Dialog

# The code of a fault that is `Parted`.
PARTED: Final = "task_parted"
# How long servers are asked to keep tasks, so that a restart of Patina finds them.
KEEP_MS: Final = 86_400_000
SOONEST: Final = 0.2
LATEST: Final = 30.0
CANCEL_WAIT: Final = 2.0
MOST_INPUTS: Final = 100
_FIRST_PAUSE: Final = 0.5
_GROWTH: Final = 1.5
_POLL_WAIT: Final = 30.0
_RESULT_WAIT: Final = 120.0
_TRIES: Final = 3
_TOO_MANY_REQUESTS: Final = 429
_WORDS: Final = 1000
_ENDED: Final[tuple[TaskStatus, ...]] = ("completed", "failed", "cancelled")
_input: Final[TypeAdapter[types.InputRequest]] = TypeAdapter(types.InputRequest)
_METHODS: Final = frozenset(
    kind.model_fields["method"].default for kind in get_args(types.InputRequest)
)
R = TypeVar("R", bound=types.Result)


class Parted(McpFault):
    """The link was lost while a server worked on the task `task_id`, which may go on there:
    `resume_task` over a new link finds out.

    With `sign_in` it is there, and wants somebody to sign in before it says more.
    """

    def __init__(self, server: str, task_id: str, *, sign_in: bool = False) -> None:
        super().__init__(
            f"Server {server} was lost while it worked on a task.",
            hint=log_hint(server),
            code=PARTED,
        )
        if sign_in:
            self.failure = sign_in_fault(server).failure
        self.task_id = task_id


async def run_task(
    session: TaskSession,
    tool: str,
    arguments: Mapping[str, Any],
    dialog: Dialog | None = None,
    *,
    server: str,
) -> types.CallToolResult:
    """Call `tool` as a task of 2025-11-25, to its end; only where `session.takes_tasks`.

    Returns at once where the server answers without a task. Every change goes to `dialog`. When
    this is cancelled, so is the task, unless `dialog.keeps_task`. No time limit of its own, but
    every request has one. Raises `McpFault` that begins with "Server <server>" where the task
    fails, is cancelled by the server or forgotten, `Parted` where the link is lost before its end;
    else `MCPError` or `ValidationError`, as the session.
    """
    token = session.begin_progress(dialog) if dialog is not None else ""
    try:
        raw = await session.call_as_task(tool, dict(arguments), KEEP_MS, token)
        if "task" not in raw:
            return types.CallToolResult.model_validate(raw, by_name=False)
        told = CreatedOlderTask.model_validate(raw, by_name=False).task
        return await _Wait(session, told.task_id, dialog, server).run(told)
    finally:
        session.end_progress(token)


async def follow_task(
    session: TaskSession, created: CreatedTask, dialog: Dialog | None = None, *, server: str
) -> types.CallToolResult:
    """Wait for the task that a server of the newer era made of a call. Else as `run_task`."""
    told = None
    if created.status == "working":
        told = Told(
            task_id=created.task_id,
            status=created.status,
            status_message=created.status_message,
            poll_interval_ms=created.poll_interval_ms,
        )
    return await _Wait(session, created.task_id, dialog, server).run(told)


async def resume_task(
    session: TaskSession, task_id: str, dialog: Dialog | None = None, *, server: str
) -> types.CallToolResult:
    """Wait for a task that was begun before a restart, or on a link that was lost.

    Raises `McpFault` where the server knows nothing of it any more. Else as `run_task`.
    """
    return await _Wait(session, task_id, dialog, server).run(None)


class _Wait:
    """The wait for the end of one task."""

    def __init__(
        self, session: TaskSession, task_id: str, dialog: Dialog | None, server: str
    ) -> None:
        self._session = session
        self._which = TaskParams(task_id=task_id)
        self._dialog = dialog
        self._server = server
        self._followed = Followed(dialog)
        self._reported: TaskState | None = None
        self._pause = _FIRST_PAUSE
        self._nothing_to_cancel = False
        # Of 2025-11-25: the request for the result that is under way, and what it brought.
        self._fetched: anyio.Event | None = None
        self._result: types.CallToolResult | None = None
        # Of the extension: the keys of what was asked, and the questions that are open.
        self._asked: set[str] = set()
        self._open: dict[str, anyio.CancelScope] = {}

    async def run(self, told: Told | None) -> types.CallToolResult:
        followed, task_id = self._session.followed, self._which.task_id
        followed[task_id] = self._followed
        try:
            async with anyio.create_task_group() as tasks:
                result = await self._to_the_end(tasks, told)
                tasks.cancel_scope.cancel()
            return result
        except ExceptionGroup as group:
            raise cause(group) from None
        except anyio.get_cancelled_exc_class():
            if self._dialog is not None and self._dialog.keeps_task():
                self._nothing_to_cancel = True
            raise
        finally:
            if followed.get(task_id) is self._followed:
                del followed[task_id]
            if not self._nothing_to_cancel:
                await self._cancel()

    async def _to_the_end(self, tasks: TaskGroup, told: Told | None) -> types.CallToolResult:
        if told is None:
            told = await self._poll()
        while True:
            await self._report(told.status, told.status_message or "")
            if told.status in _ENDED:
                self._nothing_to_cancel = True
                return await self._end(told)
            if self._session.speaks_extension:
                self._attend(tasks, told.input_requests or {})
            elif told.status == "input_required" and self._fetched is None:
                self._fetched = anyio.Event()
                tasks.start_soon(self._fetch, self._fetched)
            await self._rest(told)
            told = await self._poll()
            if self._result is not None:
                # The server may forget the task as soon as it has given the result.
                self._nothing_to_cancel = True
                await self._report("failed" if self._result.is_error else "completed", "")
                return self._result

    async def _report(self, status: TaskStatus, text: str) -> None:
        state = TaskState(task_id=self._which.task_id, status=status, text=shortened(text, _WORDS))
        if self._dialog is not None and state != self._reported:
            self._reported = state
            await self._dialog.task(state)

    async def _rest(self, told: Told) -> None:
        """Wait until it is time to poll again: as the server wishes, or when it has news."""
        seconds = told.pause
        if seconds is None:
            seconds, self._pause = self._pause, min(self._pause * _GROWTH, LATEST)
        seconds = min(max(seconds, SOONEST), LATEST)
        await anyio.sleep(SOONEST)
        with anyio.move_on_after(seconds - SOONEST):
            await self._followed.news.wait()
        self._followed.news = anyio.Event()

    async def _poll(self) -> Told:
        try:
            return await self._persist(GetTask(params=self._which), Told)
        except MCPError as error:
            if error.code not in (INVALID_PARAMS, METHOD_NOT_FOUND):
                raise
            if self._result is not None:
                return Told(task_id=self._which.task_id, status="completed")
            self._nothing_to_cancel = True
            said = shortened(visible(error.message), _WORDS)
            raise fault(
                self._server,
                f"knows nothing any more of the task that the call became: {said}",
                hint="Its result is lost. Ask for the call again if it is still needed.",
                code=str(error.code),
            ) from None

    async def _persist(self, request: types.Request[Any, Any], kind: type[R]) -> R:
        """Ask, and once more where that may help. The task goes on, whatever becomes of a poll."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._session.send_request(request, kind, _POLL_WAIT)
            except MCPError as error:
                if self._is_cut(error):
                    raise self._parted(error) from None
                if tries >= _TRIES or not _may_pass(error):
                    raise
            await anyio.sleep(tries)

    async def _end(self, told: Told) -> types.CallToolResult:
        """Return the result of a task that has ended. Raises `McpFault` where it has none."""
        words = shortened(visible(told.status_message or ""), _WORDS)
        if told.status == "cancelled":
            raise fault(self._server, "cancelled the task" + (f": {words}" if words else ""))
        if not self._session.speaks_extension:
            return await self._older_result(words)
        if told.status == "completed":
            result = readable(told.result or {}, modern=True)
            return types.CallToolResult.model_validate(result, by_name=False)
        error = told.error or {}
        raise self._failed(words, str(error.get("message", "")), error.get("code"))

    async def _older_result(self, words: str) -> types.CallToolResult:
        if self._fetched is not None:
            with anyio.move_on_after(_RESULT_WAIT):
                await self._fetched.wait()
        if self._result is not None:
            return self._result
        request = GetTaskResult(params=self._which)
        try:
            return await self._session.send_request(request, types.CallToolResult, _RESULT_WAIT)
        except MCPError as error:
            if self._is_cut(error):
                raise self._parted(error) from None
            if error.code == REQUEST_TIMEOUT:
                raise
            raise self._failed(words, error.message, error.code) from None

    def _is_cut(self, error: MCPError) -> bool:
        # Servers may answer with the same number. What was not sent does not mean that the call
        # was not made, as it does for others: the task is the call.
        cut = error.code == CONNECTION_CLOSED and self._session.is_cut
        return cut or was_unsent(error) or wants_sign_in(error)

    def _parted(self, error: MCPError) -> Parted:
        self._nothing_to_cancel = True
        return Parted(self._server, self._which.task_id, sign_in=wants_sign_in(error))

    def _failed(self, words: str, said: str, code: object) -> McpFault:
        said = shortened(visible(said), _WORDS)
        why = said if words in said else f"{words}: {said}" if said not in words else words
        number = f" (error {code})" if isinstance(code, int) else ""
        code = str(code) if isinstance(code, int) else ""
        what = f"did not finish the task: {why or 'it does not say why'}{number}"
        return fault(self._server, what, code=code)

    async def _fetch(self, fetched: anyio.Event) -> None:
        """Ask for the result of 2025-11-25, which lets the server ask what it wants to know.

        It answers when the task has ended; a refusal before that is tried again with a later poll.
        """
        request = GetTaskResult(params=self._which)
        try:
            self._result = await self._session.send_request(request, types.CallToolResult)
        except (MCPError, ValidationError):
            self._fetched = None
        fetched.set()
        self._followed.news.set()

    def _attend(self, tasks: TaskGroup, requests: Mapping[str, Any]) -> None:
        """Have new questions answered, and take back those that the server wants no more."""
        for key in [key for key in self._open if key not in requests]:
            self._open.pop(key).cancel()
        for key, request in requests.items():
            if key in self._asked:
                continue
            if len(self._asked) >= MOST_INPUTS:
                raise fault(self._server, f"asked over {MOST_INPUTS} questions for one task")
            self._asked.add(key)
            self._open[key] = scope = anyio.CancelScope()
            tasks.start_soon(self._answer, key, request, scope)

    async def _answer(self, key: str, raw: object, scope: anyio.CancelScope) -> None:
        with scope:
            method = raw.get("method") if isinstance(raw, dict) else None
            if method not in _METHODS:
                raise fault(self._server, "asked, for a task, for what Patina does not know")
            request = _input.validate_python(raw, by_name=False)
            related: Any = {RELATED: {"taskId": self._which.task_id}}
            context = ClientRequestContext(session=self._session, request_id=key, meta=related)
            response = await self._session.dispatch_input_request(context, request)
            # From here on the server may take it off its list, and be answered all the same.
            self._open.pop(key, None)
            if isinstance(response, types.ErrorData):
                said = shortened(visible(response.message), _WORDS)
                raise fault(self._server, f"asked, for a task, for what it is not given: {said}")
            params = UpdateTaskParams(task_id=self._which.task_id, input_responses={key: response})
            await self._persist(UpdateTask(params=params), types.EmptyResult)
            self._followed.news.set()

    async def _cancel(self) -> None:
        """Tell the server that nobody waits for the task any more. Bounded, and never raises."""
        with anyio.move_on_after(CANCEL_WAIT, shield=True):
            try:
                await self._session.send_request(CancelTask(params=self._which), types.EmptyResult)
                await self._report("cancelled", "")
            except (MCPError, ValidationError, RuntimeError, ValueError, OSError, Fault):
                return
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


def _may_pass(error: MCPError) -> bool:
    """Whether an error says that the server could not answer now, and not that it will not."""
    status = status_of(error) or 0
    passing = error.code in (REQUEST_TIMEOUT, INTERNAL_ERROR)
    return passing or status == _TOO_MANY_REQUESTS or status >= 500
