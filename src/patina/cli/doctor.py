"""`patina doctor`: what is configured, what can be reached, what is missing."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

import anyio
import anyio.to_thread
import click
from msgspec import Struct

from patina import __version__
from patina.assembly.app import App
from patina.assembly.local import FOUND
from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.cli.running import run_app, setup_of
from patina.config.load import WARNINGS
from patina.mcp import environment
from patina.mcp.look import shown_url
from patina.model.faults import EXIT_ERROR, EXIT_OK, Fault, PermissionFault, ProviderFault
from patina.providers.brands import DEMO
from patina.secrets.protection import State, protection_of
from patina.views.terminal_text import safe_text

REACH_SECONDS: Final = 5.0
LOW_DISK: Final = 500_000_000
_MARKS: Final = {"ok": "ok  ", "warning": "warn", "error": "FAIL"}
_FOLDERS: Final = ("config", "data", "state", "cache")
Status = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. `hint` says what to do about it."""

    subject: str
    status: Status
    text: str
    hint: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    r"""Say what is configured, what can be reached and what is missing.

    Starts no MCP server. With --offline, no provider is contacted. Exit code 1 says that
    something does not work.

    \b
    Examples:
      patina doctor
      patina doctor --json --offline
    """
    run = context(ctx)
    findings = [Finding("patina", "ok", f"{__version__}, Python {sys.version.split()[0]}")]
    findings += [folder_finding(name, getattr(run.paths, name)) for name in _FOLDERS]
    findings.append(_disk(run.paths.data))
    findings.append(_secrets(run))
    configuration = _settings(run)
    findings += configuration
    findings += _money(run, configuration)
    if not any(finding.status == "error" for finding in configuration):
        # In memory: what does not work of the folders must not hide what else does not.
        findings += run_app(setup_of(run, save=False), _running, discover=not run.offline)
    findings.append(Finding("log", "ok", str(run.paths.log_file)))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            _show(run, finding)
    broken = any(finding.status == "error" for finding in findings)
    return EXIT_ERROR if broken else EXIT_OK


def _show(run: Context, finding: Finding) -> None:
    text = f"{_MARKS[finding.status]}  {finding.subject}: {finding.text}"
    click.echo(safe_text(run.redactor(text)))
    if finding.hint:
        click.echo(safe_text(run.redactor(f"      {finding.hint}")))


def folder_finding(name: str, folder: Path) -> Finding:
    """Return whether `folder`, or the one that it would be made in, can be written to.

    It is tried, not asked for: permissions alone do not tell of a read-only disk.
    """
    subject = f"{name} folder"
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        # State and cache may be missing altogether: Patina then only does more work.
        status: Status = "warning" if name in ("state", "cache") else "error"
        reason = (error.strerror or str(error)).lower()
        return Finding(
            subject,
            status,
            f"{folder} cannot be written to: {reason}.",
            "Check its permissions, or choose another place with PATINA_HOME.",
        )
    made = "" if place == folder else " (made when something is written)"
    return Finding(subject, "ok", f"{folder}{made}")


def _disk(data: Path) -> Finding:
    folder = data
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", "warning", f"Its free space is not known: {error.strerror}.")
    text = f"{free / 1e9:.1f} GB free"
    if free < LOW_DISK:
        return Finding("disk", "warning", text, "Transcripts need space: make some.")
    return Finding("disk", "ok", text)


def _secrets(run: Context) -> Finding:
    """Say what protects the kept secrets."""
    found = protection_of(run.vault)
    statuses: dict[State, Status] = {"locked": "warning", "broken": "error"}
    status = statuses.get(found.state, "ok")
    if status == "ok" and run.paths.legacy_secrets_file.exists():
        text = f"{run.paths.legacy_secrets_file} has keys that are not encrypted."
        return Finding("secrets", "warning", text, "The next use of a key moves them: `keys list`.")
    return Finding("secrets", status, found.text, found.hint)


def _settings(run: Context) -> list[Finding]:
    try:
        configured = run.load()
        file = run.paths.config_file()
        run.origins.of("")  # a file that cannot be read would end the whole report later
    except Fault as fault:
        return [_failed("configuration", fault)]
    text = str(file) if file.exists() else f"{file} does not exist; the defaults are in force."
    warnings = configured.extra.get(WARNINGS, ())
    return [
        Finding("configuration", "ok", text),
        *(Finding("configuration", "warning", warning) for warning in warnings),
    ]


def _money(run: Context, configuration: list[Finding]) -> list[Finding]:
    """Say whether the record of spending can be read, and how far limits are used."""
    from patina.billing.days import local_day, month_of
    from patina.cli.limits import EACH, limits_of
    from patina.cli.spent import spent_in, standings
    from patina.store.money.ledger import utc_now
    from patina.views.money import limit_view, totals

    if any(finding.status == "error" for finding in configuration):
        return []
    billing, day = run.load().settings.billing, local_day(utc_now())
    limits = limits_of(billing)
    try:
        spent = anyio.run(spent_in, run, month_of(day))
        counted = [limit for limit in limits if limit.kind not in EACH]
        found = anyio.run(standings, run, counted, day)
    except Fault as fault:
        return [_failed("spending", fault)]
    hint = "" if limits else "No limit is set: `patina limits set daily 5` sets one."
    (text,) = totals([("this month", spent)])
    views = [limit_view(one, billing.warn_at) for one in found]
    return [
        Finding("spending", "ok", text, hint),
        *(Finding("limit", "ok" if view.state == "ok" else "warning", view.text) for view in views),
    ]


def _failed(subject: str, fault: Fault, status: Status = "error") -> Finding:
    return Finding(subject, status, str(fault), fault.failure.hint)


async def _running(app: App) -> list[Finding]:
    """Look at providers and servers from inside a running app."""
    found: dict[str, Finding] = {}
    # Also those that only have a key in the environment.
    usable = (*app.setup.configured.settings.providers, *app.providers.listable())
    names = [name for name in dict.fromkeys(usable) if name != DEMO]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_provider, app, name, found)
    findings = [found[name] for name in names]
    findings.append(_default(app))
    return [*findings, *[await _server(app, name) for name in app.supervisor.servers]]


async def _provider(app: App, name: str, found: dict[str, Finding]) -> None:
    subject = f"provider {name}"
    settings = app.setup.configured.settings.providers.get(name)
    if settings is not None and not settings.enabled:
        found[name] = Finding(subject, "ok", "switched off")
        return
    try:
        address = app.providers.endpoint(name).base_url
        if app.setup.offline:
            found[name] = Finding(subject, "ok", f"{address}, not contacted (--offline)")
            return
        with anyio.fail_after(REACH_SECONDS):
            listing = await app.providers.models(name, refresh=True)
        if listing.failure is not None:
            raise ProviderFault.of(listing.failure)
        models = listing.models
    except Fault as fault:
        # A provider that --offline forbids is nobody's mistake.
        found[name] = _failed(subject, fault, "warning" if app.setup.offline else "error")
    except TimeoutError:
        text = f"{address} did not answer within {REACH_SECONDS:g} s."
        found[name] = Finding(subject, "error", text, "Check the address and the network.")
    else:
        number = "1 model" if len(models) == 1 else f"{len(models)} models"
        source = app.setup.configured.sources.get(f"providers.{name}")
        how = f", {FOUND}" if source is not None and source.where == FOUND else ""
        found[name] = Finding(subject, "ok", f"{address}, {number}{how}")


def _default(app: App) -> Finding:
    try:
        model = app.providers.resolve("")
    except Fault as fault:
        return _failed("default model", fault, "warning")
    source = app.setup.configured.source("default_model")
    how = "default_model" if source.kind != "default" else "chosen from what is available"
    return Finding("default model", "ok", f"{model} ({how})")


async def _server(app: App, name: str) -> Finding:
    """Say what can be known of a server without starting or asking it; `mcp doctor` does both."""
    subject = f"MCP server {name}"
    settings = app.supervisor.servers[name]
    if not settings.enabled:
        return Finding(subject, "ok", "disabled")
    remote = settings.transport != "stdio"
    needed = environment.headers if remote else environment.own
    try:
        app.supervisor.startable(name)
        # Reads the keys and key files that it is to be given; nothing of them is shown.
        await anyio.to_thread.run_sync(needed, name, settings, app.setup.keys)
    except PermissionFault as fault:
        return _failed(subject, fault, "warning")
    except Fault as fault:
        return _failed(subject, fault)
    folder = environment.folder(settings, app.setup.environ)
    if not remote and not folder.is_dir():
        return Finding(
            subject, "error", f"There is no folder {folder} to start it in.", "Correct its `cwd`."
        )
    known = app.supervisor.definitions(name)
    never = "never connected" if remote else "never started"
    seen = f"{len(known)} tools when last seen" if known is not None else never
    if remote:
        return Finding(subject, "ok", f"{shown_url(settings.url)}, {seen}")
    return Finding(subject, "ok", f"may start, {seen}")
