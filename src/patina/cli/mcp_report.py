"""What `patina mcp test` and `patina mcp doctor` find out, as lines and as plain data."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import anyio
from msgspec import Struct

from patina.assembly.app import App
from patina.cli.signed_in import signed_in
from patina.engine.estimate import text_tokens
from patina.mcp import environment
from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.connection import INSTALL_WAIT
from patina.mcp.definitions import Definition
from patina.mcp.diagnosis import may_install
from patina.mcp.facts import Diagnosis
from patina.mcp.ground import Ground, ground
from patina.mcp.look import shown_url
from patina.mcp.names import aliases
from patina.mcp.opening import Surroundings
from patina.mcp.report import Report, examine
from patina.mcp.schema import OwnSchema, UncheckableError
from patina.mcp.text import command_line, shortened, visible
from patina.mcp.transports.remote import Network
from patina.model.codec import encode_json
from patina.model.faults import McpFault, PermissionFault
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn

SKIPPED = frozenset({"disabled", "not_allowed", "offline"})


class Offer(Struct, frozen=True, kw_only=True):
    """A tool as models see it: the size of its name, description and schema together.

    `wrong` says why models or the check of arguments cannot use its schema; `renamed`: its name
    cannot stand as it is. Not `offered`: the settings leave it out.
    """

    tool: str
    alias: str
    characters: int
    tokens: int
    renamed: bool
    offered: bool
    wrong: str = ""


class Inspection(Struct, frozen=True, kw_only=True):
    """All about one server. Without `report` it was not started; `diagnosis` then says why.

    `sign_in` is the state of the sign-in to it, and the few words for that.
    """

    server: str
    settings: ServerSettings
    consent: str
    ground: Ground | None = None
    report: Report | None = None
    offers: tuple[Offer, ...] = ()
    diagnosis: Diagnosis | None = None
    sign_in: tuple[SignIn, str] = (SignIn(server=""), "")

    @property
    def works(self) -> bool:
        """Whether it was connected."""
        return self.report is not None and self.report.connected

    @property
    def skipped(self) -> bool:
        """Whether it was left alone on purpose, which is no fault of its."""
        return self.diagnosis is not None and self.diagnosis.kind in SKIPPED

    @property
    def consent_missing(self) -> bool:
        """Whether all that it lacks is a person's consent to its start."""
        return self.diagnosis is not None and self.diagnosis.kind == "not_allowed"

    @property
    def sign_in_missing(self) -> bool:
        """Whether all that it lacks, for what is known, is that a person signs in."""
        failure = self.report.failure if self.report is not None else None
        return failure is not None and failure.code == SIGN_IN


async def inspect(app: App, server: str, *, deep: bool) -> Inspection:
    """Connect `server`, unless it may not be started, and find out all about it.

    `deep` also asks runtimes for their versions, and looks at remote servers from outside.
    """
    settings = app.supervisor.servers[server]
    await environment.look_up((settings,), app.setup.environ)
    local = settings.transport == "stdio"
    consent, refused = _consent(app, server, settings)
    below = None
    if local and deep:
        below = await ground(settings, app.setup.environ, run=refused is None)
    found = Inspection(server=server, settings=settings, consent=consent, ground=below)
    if refused is not None:
        return _with(found, diagnosis=refused)
    wait = settings.connect_timeout
    if may_install(settings):
        wait = max(wait, INSTALL_WAIT)
    report = await examine(server, settings, _surroundings(app), wait=wait, deep=deep)
    offers = await anyio.to_thread.run_sync(_offers, server, settings, report.tools)
    return _with(
        found,
        report=report,
        offers=offers,
        diagnosis=report.diagnosis,
        sign_in=await signed_in(app, server),
    )


def _with(found: Inspection, **more: Any) -> Inspection:  # noqa: ANN401 - values of its fields
    import msgspec

    return msgspec.structs.replace(found, **more)


def _surroundings(app: App) -> Surroundings:
    network = app.setup.network
    way = Network(
        network.http_proxy or network.all_proxy,
        network.https_proxy or network.all_proxy,
        network.no_proxy,
        network.ca_file,
    )
    setup = app.setup
    return Surroundings(setup.keys, setup.environ, setup.paths.state, way, app.sign_ins)


def _consent(app: App, server: str, settings: ServerSettings) -> tuple[str, Diagnosis | None]:
    """Return the state of the consent, and what stands in the way of a start."""
    consent = "not needed: nothing is started here"
    if settings.transport == "stdio":
        trusted = app.supervisor.trust.is_trusted(server)
        consent = "given for this command" if trusted else "never given for this command"
        if not trusted and server in app.setup.approvals.start:
            consent = "given for this run"
    if not settings.enabled:
        hint = f"`patina mcp enable {server}` enables it."
        return consent, Diagnosis("disabled", "It is disabled.", hint)
    try:
        app.supervisor.startable(server)
    except PermissionFault as fault:
        failure = fault.failure
        return consent, Diagnosis("not_allowed", failure.message, failure.hint)
    except McpFault as fault:
        failure = fault.failure
        return consent, Diagnosis(failure.code or "configuration", failure.message, failure.hint)
    if app.setup.offline and settings.transport != "stdio":
        hint = "Leave --offline out."
        return consent, Diagnosis("offline", "It is remote, and not contacted (--offline).", hint)
    return consent, None


def _offers(
    server: str, settings: ServerSettings, tools: tuple[Definition, ...]
) -> tuple[Offer, ...]:
    named = aliases(f"{server}.{tool.name}" for tool in tools)
    found = []
    for tool in tools:
        alias = named[f"{server}.{tool.name}"]
        sent = encode_json([(alias, tool.description, tool.schema)]).decode()
        found.append(
            Offer(
                tool=visible(tool.name),
                alias=alias,
                characters=len(alias) + len(tool.description) + len(encode_json(tool.schema)),
                tokens=round(text_tokens(sent)),
                renamed=alias != f"{server}__{tool.name}",
                offered=settings.allowed_tools is None
                or any(fnmatchcase(tool.name, glob) for glob in settings.allowed_tools),
                wrong=_wrong(tool.schema),
            )
        )
    return tuple(found)


def _wrong(schema: dict[str, Any]) -> str:
    if schema.get("type") != "object":
        return "its schema is not that of an object"
    try:
        OwnSchema(schema)
    except UncheckableError as error:
        return visible(str(error))
    return ""


def plain(found: Inspection, *, session: bool, deep: bool) -> dict[str, Any]:
    """Return all as JSON data: no value of a variable or header is part of it."""
    report = found.report
    data: dict[str, Any] = {
        "server": found.server,
        "transport": found.settings.transport,
        "connected": found.works,
        "consent": found.consent,
        "diagnosis": found.diagnosis,
        "sign_in": found.sign_in[0].state,
        "account": found.sign_in[0].account,
    }
    if found.settings.transport != "stdio":
        data["url"] = shown_url(found.settings.url)
    if found.ground is not None:
        data["start"] = found.ground
    if report is not None:
        for field in ("took_ms", "era", "protocol", "name", "version"):
            data[field] = getattr(report, field)
        data["tools"] = len(report.tools)
        data["tokens"] = _tokens(found)
    if report is not None and deep:
        fields = ("timeline", "capabilities", "extensions", "stray", "lines", "look")
        data |= {field: getattr(report, field) for field in fields}
        data["offered"] = found.offers
    if report is not None and session:
        data["session_id"] = report.session_id
    return data


def brief(found: Inspection, *, session: bool = False) -> Iterator[str]:
    """Yield a line or two: that it works, or why not and what to do."""
    report = found.report
    if report is not None and report.connected:
        yield (
            f"ok    {found.server}: connected in {report.took_ms} ms, {_spoken(report)}, "
            f"{_count(len(report.tools), 'tool')}, about {_tokens(found):,} tokens"
        )
        if found.sign_in[1]:
            yield f"      {found.sign_in[1]}"
        if session and report.session_id:
            yield f"      session {report.session_id}"
    elif found.diagnosis is not None:
        mark = "skip" if found.skipped else "FAIL"
        yield f"{mark}  {found.server}: {found.diagnosis.sentence}"
        yield f"      {found.diagnosis.hint}"


def full(found: Inspection, *, session: bool = False) -> Iterator[str]:
    """Yield everything, in the order in which a server is started."""
    settings, report = found.settings, found.report
    yield f"{found.server} ({settings.transport})"
    yield _row("consent", found.consent)
    if found.ground is not None:
        yield from _ground_lines(found.ground)
    if settings.transport != "stdio":
        yield from _remote_lines(found)
    if report is not None:
        for step in report.timeline:
            yield _row(f"+{step.at_ms} ms", step.text)
    if report is not None and report.connected:
        yield from _server_lines(report, session=session)
        yield from _offer_lines(found)
    if report is not None and report.stray:
        yield _row("stray", f"no message, on its standard output: {report.stray}")
    for index, line in enumerate(report.lines if report is not None else ()):
        yield _row("" if index else "its log", line)
    yield ""
    yield from brief(found)


def _row(name: str, text: str) -> str:
    return f"  {name:<12}  {text}".rstrip()


def _ground_lines(below: Ground) -> Iterator[str]:
    yield _row("command", command_line(below.argv))
    yield _row("program", below.binary or "not found")
    if below.real_path != below.binary:
        yield _row("", f"which is {below.real_path}")
    yield _row("folder", below.folder + ("" if below.folder_exists else " (does not exist)"))
    yield _row("PATH", f"of the {below.path_source}: {':'.join(below.search_path) or 'empty'}")
    yield _row("variables", f"of its own: {', '.join(below.own) or 'none'}")
    yield _row("", f"inherited: {', '.join(below.inherited) or 'none'}")
    yield _row("", f"withheld: {', '.join(below.withheld) or 'none'}")
    for runtime in below.runtimes:
        said = f" ({runtime.path})" if runtime.path else ""
        yield _row("runtime", f"{runtime.program}: {runtime.version or _there(runtime.path)}{said}")


def _there(path: str) -> str:
    return "there" if path else "not found"


def _remote_lines(found: Inspection) -> Iterator[str]:
    yield _row("address", shown_url(found.settings.url))
    if found.settings.headers:
        yield _row("headers", ", ".join(visible(name) for name in sorted(found.settings.headers)))
    if found.sign_in[1]:
        yield _row("sign-in", found.sign_in[1])
    seen = found.report.look if found.report is not None else None
    if seen is None:
        return
    yield _row("proxy", seen.proxy or "none")
    if seen.addresses:
        yield _row("resolves to", ", ".join(seen.addresses))
    if seen.certificate is not None:
        one = seen.certificate
        yield _row(
            "certificate",
            f"{one.version}, issued by {one.issuer}, expires {one.expires} (in {one.days} days)",
        )
    for answer in seen.answers:
        kind = f", {answer.media_type}" if answer.media_type else ""
        yield _row(f"{answer.method} says", f"HTTP status {answer.status}{kind}")
    yield _row("speaks", seen.spoken or "nothing that is known")


def _server_lines(report: Report, *, session: bool) -> Iterator[str]:
    yield _row("server", f"{report.name or 'unnamed'} {report.version}")
    yield _row("protocol", _spoken(report))
    yield _row("offers", ", ".join(report.capabilities) or "nothing")
    if report.extensions:
        yield _row("extensions", ", ".join(report.extensions))
    if session:
        yield _row("session", report.session_id or "none")


def _offer_lines(found: Inspection) -> Iterator[str]:
    sent = [one for one in found.offers if one.offered]
    characters = sum(one.characters for one in sent)
    number = _count(len(sent), "tool")
    yield _row(
        "models get", f"{number}, {characters:,} characters, about {_tokens(found):,} tokens"
    )
    for one in found.offers:
        words = [f"{one.characters:,} characters, about {one.tokens:,} tokens"]
        if not one.offered:
            words = ["left out by allowed_tools"]
        if one.renamed:
            words.append(f"renamed {one.alias}")
        if one.wrong:
            words.append(f"INVALID: {one.wrong}")
        yield _row("", f"{shortened(one.tool, 60)}: {', '.join(words)}")


def _tokens(found: Inspection) -> int:
    return sum(one.tokens for one in found.offers if one.offered)


def _spoken(report: Report) -> str:
    return f"MCP {report.protocol} ({report.era})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
