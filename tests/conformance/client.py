"""The client of the conformance suite: Patina's own connections and sign-ins, nothing beside them.

The suite starts it as `python -m tests.conformance.client URL` and says by the environment
which scenario runs: `MCP_CONFORMANCE_SCENARIO`, and `MCP_CONFORMANCE_CONTEXT` as JSON. An end
with 0 says that all went as it should.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
from tests.conformance.signing_in import MemoryGrants, Robot, settings_for

from patina.engine.clock import SystemClock
from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.auth.sign_ins import SignIns
from patina.mcp.features import ServerFeatures
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.mcp.transports.remote import Network
from patina.model.chat import ToolInfo
from patina.model.faults import Fault, McpFault, PermissionFault
from patina.model.forms import fields_of, with_defaults
from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState
from patina.model.settings import ServerSettings
from patina.secrets.environment import Resolver

SERVER: Final = "suite"
SECONDS: Final = 40.0


class Given:
    """A key ring with the secrets that a scenario gives."""

    def __init__(self, secrets: Mapping[str, Any]) -> None:
        self._secrets = {name: text for name, text in secrets.items() if isinstance(text, str)}

    def get(self, name: str) -> str | None:
        return self._secrets.get(name)

    def set(self, name: str, value: str) -> None:
        raise AssertionError(f"nothing here stores {name}")

    def remove(self, name: str) -> bool:
        return False

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._secrets))


class Defaults:
    """A person who takes every form as it is offered, and lets no model answer."""

    present = True

    def progress(self, done: float, total: float | None, text: str) -> None:
        """Look away."""

    def log(self, level: str, text: str) -> None:
        """Look away."""

    async def ask(self, asked: Asked) -> Answered:
        if asked.kind != "form":
            return Answered(action="decline")
        return Answered(action="accept", content=with_defaults(fields_of(asked.form), {}))

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        raise PermissionFault(f"{server} may not use a model ({prompt.model}).")

    async def task(self, state: TaskState) -> None:
        """Wait for its end."""

    def keeps_task(self) -> bool:
        return False


class Client:
    """A connected server, and what the scenarios do with it."""

    def __init__(
        self,
        supervisor: Supervisor,
        sign_ins: SignIns,
        settings: ServerSettings,
        context: Mapping[str, Any],
    ) -> None:
        self.context = context
        self._supervisor = supervisor
        self._sign_ins = sign_ins
        self._settings = settings
        self._tools = Toolset(supervisor)
        self.features = ServerFeatures(supervisor, self._tools, lambda _: {})

    async def connect(self) -> None:
        await self._supervisor.connect(SERVER)

    async def sign_in(self) -> None:
        """Sign in, as somebody does who was told to. Nothing goes on where that fails."""
        ended = await self._sign_ins.sign_in(SERVER, self._settings, Robot())
        if ended.state != "connected":
            raise SystemExit(f"signing in ended as {ended.state} ({ended.step}): {ended.message}")

    async def tools(self) -> tuple[ToolInfo, ...]:
        return await self._tools.list((SERVER,))

    def check(self, tool: ToolInfo, arguments: Mapping[str, Any]) -> None:
        self._tools.check(tool, json.dumps(arguments))

    async def call(self, name: str, arguments: Mapping[str, Any]) -> None:
        tool = self._tools.find(f"{SERVER}.{name}")
        if tool is None:
            raise SystemExit(f"the server does not list {name}")
        outcome = await self._tools.call(tool, arguments, Defaults())
        if outcome.is_error:
            raise SystemExit(f"{name} failed: {outcome.parts}")


async def list_tools(client: Client) -> None:
    await client.connect()
    await client.tools()


async def sign_in(client: Client) -> None:
    """Use the server, and sign in whenever only that is missing; nobody does that for ever."""
    for left in (2, 1, 0):
        try:
            await client.connect()
            for tool in await client.tools():
                await client.call(tool.tool, {})
        except McpFault as fault:
            if fault.failure.code != SIGN_IN or not left:
                raise
            await client.sign_in()
        else:
            return


def call_tools(*calls: tuple[str, dict[str, Any]]) -> Callable[[Client], Awaitable[None]]:
    async def run(client: Client) -> None:
        await list_tools(client)
        for name, arguments in calls:
            await client.call(name, arguments)

    return run


async def call_as_told(client: Client) -> None:
    """What to call, and with what, is in the context."""
    await list_tools(client)
    for call in client.context["toolCalls"]:
        await client.call(call["name"], call["arguments"])


async def call_all(client: Client) -> None:
    """Call whatever is listed, so that a tool which ought to be left out would be seen."""
    await client.connect()
    for tool in await client.tools():
        await client.call(tool.tool, dict.fromkeys(tool.schema.get("properties", {}), "x"))


async def use_everything(client: Client) -> None:
    await call_all(client)
    for resource in await client.features.resources((SERVER,)):
        await client.features.read(SERVER, resource.uri)
    for prompt in await client.features.prompts((SERVER,)):
        try:
            await client.features.prompt(SERVER, prompt.name, {})
        except McpFault as fault:
            if "says nothing" not in fault.failure.message:  # the suite's prompt has no messages
                raise


async def check_arguments(client: Client) -> None:
    """Checking arguments is where a reference of a schema would be looked up."""
    await client.connect()
    for tool in await client.tools():
        client.check(tool, {"id": "a-1", "profile": {"displayName": "A"}})


async def send_schema_back(client: Client) -> None:
    await client.connect()
    listed = {tool.tool: tool.schema for tool in await client.tools()}
    await client.call("json_schema_echo", {"schema": listed["json_schema_2020_12_tool"]})


SCENARIOS: Final[dict[str, Callable[[Client], Awaitable[None]]]] = {
    "initialize": list_tools,
    "request-metadata": list_tools,
    "tools_call": call_tools(("add_numbers", {"a": 5, "b": 3})),
    "sse-retry": call_tools(("test_reconnection", {})),
    "elicitation-sep1034-client-defaults": call_tools(("test_client_elicitation_defaults", {})),
    "sep-2322-client-request-state": call_tools(
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ),
    "http-standard-headers": use_everything,
    "http-custom-headers": call_as_told,
    "http-invalid-tool-headers": call_all,
    "json-schema-ref-no-deref": check_arguments,
    "json-schema-2020-12-preservation": send_schema_back,
}


def _steps_of(scenario: str) -> Callable[[Client], Awaitable[None]]:
    if scenario in SCENARIOS:
        return SCENARIOS[scenario]
    return sign_in if scenario.startswith("auth/") else list_tools


async def main(url: str, scenario: str, context: Mapping[str, Any], root: Path) -> None:
    settings = settings_for(url, scenario, context)
    kept = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP")
    environ = {name: os.environ[name] for name in kept if name in os.environ}

    async def no_blob(content: bytes) -> str:
        raise AssertionError(f"{len(content)} bytes that no scenario sends")

    keys = Resolver(environ, Given(context), lambda _: None)
    sign_ins = SignIns(MemoryGrants(), keys, SystemClock(), Network(), lambda _: None)
    supervisor = Supervisor(
        {SERVER: settings},
        keys=keys,
        environ=environ,
        data=root / "data",
        state=root / "state",
        cache=root / "cache",
        put_blob=no_blob,
        on_change=lambda *_: None,
        allow_start=frozenset((SERVER,)),
        sign_ins=sign_ins,
    )
    with anyio.fail_after(SECONDS):
        async with supervisor:
            client = Client(supervisor, sign_ins, settings, context)
            await _steps_of(scenario)(client)
            await supervisor.close()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        try:
            anyio.run(
                main,
                sys.argv[-1],
                os.environ["MCP_CONFORMANCE_SCENARIO"],
                json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")),
                Path(folder),
            )
        except Fault as fault:
            sys.exit(f"{fault.failure.message} {fault.failure.hint}")
