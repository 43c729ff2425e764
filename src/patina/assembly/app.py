"""Builds a running app from settings and ports, and takes it down in order."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from patina import __version__
from patina.assembly.event_log import log_event
from patina.billing.unmetered import Unmetered
from patina.config.network import Network
from patina.config.paths import Paths
from patina.engine.bus import Bus
from patina.engine.clock import SystemClock
from patina.engine.host import Engine
from patina.engine.services import Services
from patina.mcp.connection import State
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.events import ServerChanged
from patina.model.settings import Configured
from patina.permission.approvals import Approvals
from patina.permission.gate import PolicyGate
from patina.ports.clock import Clock
from patina.ports.journal import Journal
from patina.ports.keys import Secrets
from patina.ports.permission import Gate
from patina.ports.provider import Driver
from patina.providers.address import Proxies
from patina.providers.http import HttpClient
from patina.providers.registry import ProviderRegistry
from patina.store.journal import FileJournal
from patina.store.memory import MemoryJournal


class Setup(Struct, frozen=True, kw_only=True):
    """All that an app is built from.

    `environ` is the environment that MCP servers descend from. `keys` finds secrets by name and by
    reference, those of the environment included. `drivers` are ready-made providers by name, for
    tests. Without `save`, conversations are kept in memory only.
    """

    configured: Configured
    paths: Paths
    environ: Mapping[str, str]
    keys: Secrets
    network: Network = Network()
    approvals: Approvals = Approvals()
    offline: bool = False
    save: bool = True
    drivers: Mapping[str, Driver] = {}


class App(Struct, frozen=True, kw_only=True):
    """A running app. Front ends submit commands to `engine` and read its events."""

    setup: Setup
    engine: Engine
    journal: Journal
    providers: ProviderRegistry
    supervisor: Supervisor
    tools: Toolset
    gate: Gate
    clock: Clock
    http: HttpClient


@asynccontextmanager
async def open_app(setup: Setup) -> AsyncIterator[App]:
    """Run an app as long as the body runs; leaving it ends turns, servers and the journal.

    The order of the stack is the order of need: turns end while servers and journal are there.
    """
    settings = setup.configured.settings
    clock = SystemClock()
    bus = Bus(clock, log_event)
    async with AsyncExitStack() as stack:
        journal: FileJournal | MemoryJournal = MemoryJournal()
        if setup.save:
            files = FileJournal(setup.paths.data, setup.paths.state)
            journal = await stack.enter_async_context(files)
        http = HttpClient(_proxies(setup.network), setup.network.ca_file)
        stack.push_async_callback(http.aclose)
        supervisor = await stack.enter_async_context(_supervisor(setup, journal, bus))
        tools = Toolset(supervisor)
        providers = ProviderRegistry(
            settings,
            setup.keys,
            http,
            clock,
            drivers=setup.drivers,
            offline=setup.offline,
        )
        gate = PolicyGate(settings.permissions, setup.approvals)
        services = Services(
            journal=journal,
            providers=providers,
            tools=tools,
            gate=gate,
            meter=Unmetered(),
            clock=clock,
            bus=bus,
            chat=settings.chat,
            device=journal.device if isinstance(journal, FileJournal) else "",
            app=f"patina {__version__}",
        )
        engine = await stack.enter_async_context(Engine(services))
        yield App(
            setup=setup,
            engine=engine,
            journal=journal,
            providers=providers,
            supervisor=supervisor,
            tools=tools,
            gate=gate,
            clock=clock,
            http=http,
        )


def _supervisor(setup: Setup, journal: Journal, bus: Bus) -> Supervisor:
    def changed(server: str, state: State, text: str, tools: int) -> None:
        bus.publish(ServerChanged(server=server, state=state, text=text, tools=tools))

    return Supervisor(
        setup.configured.settings.mcp_servers,
        keys=setup.keys,
        environ=setup.environ,
        data=setup.paths.data,
        state=setup.paths.state,
        cache=setup.paths.cache,
        put_blob=journal.put_blob,
        on_change=changed,
        allow_start=setup.approvals.start,
    )


def _proxies(network: Network) -> Proxies:
    return Proxies(
        http=network.http_proxy or network.all_proxy,
        https=network.https_proxy or network.all_proxy,
        no_proxy=network.no_proxy,
    )
