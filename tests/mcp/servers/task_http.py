"""A server of the SDK itself whose tool "greet" is a task that asks for a name (2026-07-28)."""

from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import MCPServer

_NAME: Final = {
    "method": "elicitation/create",
    "params": {
        "mode": "form",
        "message": "What is your name?",
        "requestedSchema": {"type": "object", "properties": {"one": {"type": "string"}}},
    },
}
# The tasks that the headers of the requests about tasks have named.
names: list[str] = []


class _Params(types.RequestParams):
    task_id: str


class _Answers(_Params):
    input_responses: dict[str, Any]


class _Tasks(Extension):
    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self._name = ""

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding("tasks/get", _Params, self._get),
            MethodBinding("tasks/update", _Answers, self._update),
        ]

    async def intercept_tool_call(
        self,
        params: types.CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        if params.name != "greet":
            return await call_next(ctx)
        return {**self._shown("working"), "resultType": "task"}

    def _shown(self, status: str) -> dict[str, Any]:
        when = "2026-11-22T00:00:00Z"
        times = {"createdAt": when, "lastUpdatedAt": when, "ttlMs": None, "pollIntervalMs": 200}
        return {"taskId": "greeting", "status": status, **times}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: _Params) -> HandlerResult:
        _note(ctx)
        if not self._name:
            return {**self._shown("input_required"), "inputRequests": {"name": _NAME}}
        content = [{"type": "text", "text": f"Hello, {self._name}!"}]
        return {**self._shown("completed"), "result": {"content": content}}

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: _Answers) -> HandlerResult:
        _note(ctx)
        self._name = params.input_responses["name"]["content"]["one"]
        return {}


def _note(ctx: ServerRequestContext[Any, Any]) -> None:
    assert ctx.request is not None
    names.append(ctx.request.headers["mcp-name"])


def app() -> Any:
    """Return the server, over Streamable HTTP."""
    server = MCPServer("tasks", extensions=[_Tasks()])

    @server.tool()
    def echo(text: str) -> str:
        return text

    @server.tool()
    def greet() -> str:
        raise AssertionError("it is a task")

    return server.streamable_http_app()
