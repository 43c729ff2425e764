"""Builds a running app from settings and ports, and takes it down in order."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from patina import __version__
from patina.assembly.event_log import log_event
from patina.assembly.masked import MaskedFeatures, MaskedToolset, masked_blobs
from patina.assembly.models import usable_models
from patina.assembly.money import Money
from patina.assembly.reload import ConfigurationFollower
from patina.assembly.rules import Rules
from patina.config.files import update_file
from patina.config.keys import join_key
from patina.config.network import Network
from patina.config.paths import Paths
from patina.engine.bus import Bus
from patina.engine.clock import SystemClock
from patina.engine.host import Engine
from patina.engine.services import Services, somebody
from patina.mcp.auth.sign_ins import SignIns
from patina.mcp.features import ServerFeatures
from patina.mcp.keeper import NoticeLevel
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.mcp.transports import remote
from patina.model.events import (
    ProviderChanged,
    ResourceChanged,
    ServerChanged,
    ServerNotice,
    ServerState,
    SignInChanged,
)
from patina.model.faults import ProviderFault
from patina.model.masking import Mask, unmasked
from patina.model.settings import Configured
from patina.model.sign_in import SignIn
from patina.permission.approvals import Approvals
from patina.permission.gate import PolicyGate
from patina.ports.clock import Clock
from patina.ports.drafts import Drafts
from patina.ports.grants import Grants
from patina.ports.journal import Journal
from patina.ports.keys import Secrets
from patina.ports.meter import Meter
from patina.ports.permission import Gate
from patina.ports.provider import Driver
from patina.providers.address import Proxies
from patina.providers.brands import DEMO
from patina.providers.endpoints import key_place
from patina.providers.http import HttpClient
from patina.providers.queue import ProviderState
from patina.providers.registry import ProviderRegistry
from patina.secrets.origins import Bindings, FileOrigins
from patina.store.drafts import FileDrafts, MemoryDrafts
from patina.store.journal import FileJournal
from patina.store.memory import MemoryJournal
from patina.store.money.ledger import FileLedger
from patina.views.sign_in import sign_in_view

WATCH_SECONDS = 0.5


class Setup(Struct, frozen=True, kw_only=True):
    """All that an app is built from.

    `environ` is the environment that MCP servers descend from. `keys` finds secrets by name and by
    reference, those of the environment included. `drivers` are ready-made providers by name, for
    tests. Without `save`, conversations are kept in memory only. `lives_on` says that the app goes
    on after an answer: then titles are made, and what other processes write becomes known; with
    `reload`, which reads the configuration anew, that holds for the configured servers too.
    `on_notice` hears every notice of a server as it is published, and must not wait. `mask` masks
    secrets in all that is stored, published and sent to a model. `grants` keep sign-ins to servers;
    without them nobody can sign in. `present` says whether a person may answer questions.
    """

    configured: Configured
    paths: Paths
    environ: Mapping[str, str]
    keys: Secrets
    network: Network = Network()
    approvals: Approvals = Approvals()
    offline: bool = False
    save: bool = True
    lives_on: bool = False
    reload: Callable[[], Configured] | None = None
    on_notice: Callable[[ServerNotice], None] | None = None
    drivers: Mapping[str, Driver] = {}
    mask: Mask = unmasked
    grants: Grants | None = None
    present: Callable[[], bool] = somebody


class App(Struct, frozen=True, kw_only=True):
    """A running app. Front ends submit commands to `engine` and read its events.

    `sign_ins` are those of the servers of `supervisor`, None where nobody can sign in. `money` puts
    changed limits in force.
    """

    setup: Setup
    services: Services
    engine: Engine
    journal: Journal
    drafts: Drafts
    providers: ProviderRegistry
    supervisor: Supervisor
    sign_ins: SignIns | None
    tools: Toolset
    features: ServerFeatures
    gate: Gate
    meter: Meter
    money: Money
    clock: Clock
    http: HttpClient


class _Parts(Struct, frozen=True, kw_only=True):
    """What services are made of, and what else an app needs of it."""

    clock: SystemClock
    bus: Bus
    journal: FileJournal | MemoryJournal
    http: HttpClient
    notify: Callable[[ServerNotice], None]
    supervisor: Supervisor
    tools: MaskedToolset
    features: ServerFeatures
    providers: ProviderRegistry
    gate: PolicyGate
    rules: Rules
    money: Money


@asynccontextmanager
async def open_app(setup: Setup) -> AsyncIterator[App]:
    """Run an app as long as the body runs; leaving it ends turns, servers and the journal.

    The order of the stack is the order of need: turns end while servers and journal are there.
    """
    async with AsyncExitStack() as stack:
        parts = await _parts(setup, stack)
        services = _services(setup, parts)
        engine = await stack.enter_async_context(Engine(services))
        await _follow(setup, parts, stack)
        yield App(
            setup=setup,
            services=services,
            engine=engine,
            journal=parts.journal,
            drafts=services.drafts,
            providers=parts.providers,
            supervisor=parts.supervisor,
            sign_ins=parts.supervisor.sign_ins,
            tools=parts.tools,
            features=parts.features,
            gate=parts.gate,
            meter=services.meter,
            money=parts.money,
            clock=parts.clock,
            http=parts.http,
        )


async def _parts(setup: Setup, stack: AsyncExitStack) -> _Parts:
    """Open what has to be closed again, in the order in which it is needed."""
    settings = setup.configured.settings
    clock = SystemClock()
    bus = Bus(clock, log_event, setup.mask)
    journal = await _journal(setup, stack)
    http = _http(setup, stack)
    notify = _notify(setup, bus)
    supervisor = await stack.enter_async_context(_supervisor(setup, journal, bus, notify, clock))
    tools = MaskedToolset(supervisor, setup.mask)
    providers = _providers(setup, http, clock, bus)
    gate = PolicyGate(settings.permissions, setup.approvals)
    rules = Rules(setup.paths, gate)
    rules.follow(settings)
    ledger = await stack.enter_async_context(FileLedger(setup.paths.data, setup.paths.state))
    return _Parts(
        clock=clock,
        bus=bus,
        journal=journal,
        http=http,
        notify=notify,
        supervisor=supervisor,
        tools=tools,
        features=MaskedFeatures(supervisor, tools, setup.mask),
        providers=providers,
        gate=gate,
        rules=rules,
        money=Money(ledger, providers, clock, settings.billing, bus.publish, kept=setup.save),
    )


def _services(setup: Setup, parts: _Parts) -> Services:
    settings, supervisor, journal = setup.configured.settings, parts.supervisor, parts.journal
    return Services(
        journal=journal,
        drafts=FileDrafts(setup.paths.data) if setup.save else MemoryDrafts(),
        providers=parts.providers,
        tools=parts.tools,
        features=parts.features,
        gate=parts.gate,
        rules=parts.rules,
        meter=parts.money.meter,
        clock=parts.clock,
        bus=parts.bus,
        chat=settings.chat,
        device=journal.device if isinstance(journal, FileJournal) else "",
        app=f"patina {__version__}",
        titles=setup.lives_on,
        untitled=(DEMO,),  # a stand-in names everything alike
        watch=WATCH_SECONDS if setup.lives_on else 0.0,
        servers=lambda: supervisor.servers,
        models=lambda: usable_models(parts.providers),
        present=setup.present,
    )


async def _follow(setup: Setup, parts: _Parts, stack: AsyncExitStack) -> None:
    """Let changes of the configuration and of keys take effect while the app runs."""
    if setup.lives_on and setup.reload is not None:
        follower = ConfigurationFollower(
            setup.paths,
            setup.reload,
            parts.supervisor,
            parts.notify,
            parts.rules,
            keys=setup.keys,
            changed=parts.money.follow,
        )
        await stack.enter_async_context(follower)


async def _journal(setup: Setup, stack: AsyncExitStack) -> FileJournal | MemoryJournal:
    if not setup.save:
        return MemoryJournal()
    return await stack.enter_async_context(FileJournal(setup.paths.data, setup.paths.state))


def _http(setup: Setup, stack: AsyncExitStack) -> HttpClient:
    http = HttpClient(_proxies(setup.network), setup.network.ca_file)
    stack.push_async_callback(http.aclose)
    return http


def _providers(setup: Setup, http: HttpClient, clock: Clock, bus: Bus) -> ProviderRegistry:
    return ProviderRegistry(
        setup.configured.settings,
        setup.keys,
        http,
        clock,
        drivers=setup.drivers,
        offline=setup.offline,
        changed=_provider_changed(bus),
        origins=key_origins(setup.paths, setup.configured),
        cache=setup.paths.cache,
    )


def _provider_changed(bus: Bus) -> Callable[[str, ProviderState], None]:
    texts: dict[ProviderState, str] = {
        "ready": "{} answers.",
        "limited": "{} bounds requests for now.",
        "offline": "{} cannot be reached.",
    }

    def changed(provider: str, state: ProviderState) -> None:
        text = texts[state].format(provider)
        bus.publish(ProviderChanged(provider=provider, state=state, text=text))

    return changed


def key_origins(paths: Paths, configured: Configured) -> FileOrigins:
    """Return which key may go where, with what the environment pairs for this run."""
    return FileOrigins(paths.origins_file, update_file, _paired(configured))


def _paired(configured: Configured) -> Bindings:
    """Return the origins of keys that came together with their address, from the environment.

    Whether such a pair may be used at all was decided when it was read (`config.overlay`).
    """
    pairs: dict[str, tuple[str, ...]] = {}
    for name, provider in configured.settings.providers.items():
        keys = (join_key(("providers", name, field)) for field in ("base_url", "api_key"))
        both = all(configured.source(key).kind in {"environment", ".env"} for key in keys)
        if not both or not provider.api_key.startswith("env:"):
            continue
        try:
            place = key_place(name, provider)
        except ProviderFault:
            continue  # said when it is used
        pairs[provider.api_key] = (*pairs.get(provider.api_key, ()), place)
    return pairs


def _notify(setup: Setup, bus: Bus) -> Callable[[ServerNotice], None]:
    def notify(notice: ServerNotice) -> None:
        bus.publish(notice)
        if setup.on_notice is not None:
            setup.on_notice(notice)

    return notify


def _supervisor(
    setup: Setup,
    journal: Journal,
    bus: Bus,
    notify: Callable[[ServerNotice], None],
    clock: Clock,
) -> Supervisor:
    def changed(server: str, state: ServerState, text: str, tools: int) -> None:
        bus.publish(ServerChanged(server=server, state=state, text=text, tools=tools))

    def notice(server: str, level: NoticeLevel, text: str) -> None:
        notify(ServerNotice(server=server, level=level, text=text))

    def resource(server: str, uri: str) -> None:
        bus.publish(ResourceChanged(server=server, uri=uri))

    def signed_in(sign_in: SignIn) -> None:
        bus.publish(sign_in_changed(sign_in))
        if sign_in.state == "connected":
            supervisor.retry(sign_in.server)

    way = _servers_network(setup.network)
    sign_ins = None
    if setup.grants is not None:
        sign_ins = SignIns(setup.grants, setup.keys, clock, way, signed_in)
    supervisor = Supervisor(
        setup.configured.settings.mcp_servers,
        keys=setup.keys,
        environ=setup.environ,
        data=setup.paths.data,
        state=setup.paths.state,
        cache=setup.paths.cache,
        put_blob=masked_blobs(journal.put_blob, setup.mask),
        on_change=changed,
        on_notice=notice,
        on_resource=resource,
        allow_start=setup.approvals.start,
        network=way,
        sign_ins=sign_ins,
        mask=setup.mask,
    )
    return supervisor


def sign_in_changed(sign_in: SignIn) -> SignInChanged:
    """Return the event that tells how far a sign-in is."""
    view = sign_in_view(sign_in)
    return SignInChanged(
        sign_in=sign_in, text=view.text, button=view.button, busy=view.busy, retry=view.retry
    )


def _servers_network(network: Network) -> remote.Network:
    proxies = _proxies(network)
    return remote.Network(proxies.http, proxies.https, proxies.no_proxy, network.ca_file)


def _proxies(network: Network) -> Proxies:
    return Proxies(
        http=network.http_proxy or network.all_proxy,
        https=network.https_proxy or network.all_proxy,
        no_proxy=network.no_proxy,
    )
