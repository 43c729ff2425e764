"""`patina doctor`: what is configured, what can be reached, what is missing."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final, Literal

import anyio
import click
from msgspec import Struct

from patina import __version__
from patina.assembly.app import App
from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.cli.running import run_app, setup_of
from patina.config.load import WARNINGS
from patina.model.faults import EXIT_ERROR, EXIT_OK, Fault
from patina.providers.catalog import DEMO
from patina.views.terminal_text import safe_text

REACH_SECONDS: Final = 5.0
LOW_DISK: Final = 500_000_000
_MARKS: Final = {"ok": "ok  ", "warning": "warn", "error": "FAIL"}


class Finding(Struct, frozen=True):
    """One thing that was looked at. `hint` says what to do about it."""

    subject: str
    status: Literal["ok", "warning", "error"]
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
    findings += [_folder(name, getattr(run.paths, name)) for name in ("config", "data", "state")]
    findings.append(_disk(run.paths.data))
    findings += _settings(run)
    if not any(finding.status == "error" for finding in findings):
        findings += run_app(setup_of(run), _running)
    findings.append(Finding("log", "ok", str(run.paths.log_file)))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            click.echo(safe_text(f"{_MARKS[finding.status]}  {finding.subject}: {finding.text}"))
            if finding.hint:
                click.echo(safe_text(f"      {finding.hint}"))
    broken = any(finding.status == "error" for finding in findings)
    return EXIT_ERROR if broken else EXIT_OK


def _folder(name: str, folder: Path) -> Finding:
    subject = f"{name} folder"
    if not folder.exists():
        return Finding(subject, "ok", f"{folder} (made when something is written)")
    if not os.access(folder, os.W_OK):
        status: Literal["warning", "error"] = "warning" if name == "state" else "error"
        return Finding(subject, status, f"{folder} cannot be written.", "Check its permissions.")
    return Finding(subject, "ok", str(folder))


def _disk(data: Path) -> Finding:
    folder = data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free < LOW_DISK:
        return Finding("disk", "warning", text, "Transcripts need space: make some.")
    return Finding("disk", "ok", text)


def _settings(run: Context) -> list[Finding]:
    try:
        configured = run.load()
    except Fault as fault:
        return [Finding("configuration", "error", str(fault), fault.failure.hint)]
    file = run.paths.config_file()
    text = str(file) if file.exists() else f"{file} does not exist; the defaults are in force."
    warnings = configured.extra.get(WARNINGS, ())
    return [
        Finding("configuration", "ok", text),
        *(Finding("configuration", "warning", warning) for warning in warnings),
    ]


async def _running(app: App) -> list[Finding]:
    """Look at providers and servers from inside a running app."""
    found: dict[str, Finding] = {}
    names = [name for name in app.setup.configured.settings.providers if name != DEMO]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_provider, app, name, found)
    findings = [found[name] for name in names]
    findings.append(_default(app))
    return [*findings, *(_server(app, name) for name in app.supervisor.servers)]


async def _provider(app: App, name: str, found: dict[str, Finding]) -> None:
    subject = f"provider {name}"
    if not app.setup.configured.settings.providers[name].enabled:
        found[name] = Finding(subject, "ok", "switched off")
        return
    try:
        driver = app.providers.driver(name)
        address = app.providers.endpoint(name).base_url
        if app.setup.offline:
            found[name] = Finding(subject, "ok", f"{address}, not contacted (--offline)")
            return
        with anyio.fail_after(REACH_SECONDS):
            models = await driver.list_models()
    except Fault as fault:
        found[name] = Finding(subject, "error", str(fault), fault.failure.hint)
    except TimeoutError:
        text = f"{address} did not answer within {REACH_SECONDS:g} s."
        found[name] = Finding(subject, "error", text, "Check the address and the network.")
    else:
        found[name] = Finding(subject, "ok", f"{address}, {len(models)} models")


def _default(app: App) -> Finding:
    try:
        model = app.providers.resolve("")
    except Fault as fault:
        return Finding("default model", "warning", str(fault), fault.failure.hint)
    source = app.setup.configured.source("default_model")
    how = "default_model" if source.kind != "default" else "chosen from what is available"
    return Finding("default model", "ok", f"{model} ({how})")


def _server(app: App, name: str) -> Finding:
    subject = f"MCP server {name}"
    settings = app.supervisor.servers[name]
    if not settings.enabled:
        return Finding(subject, "ok", "disabled")
    try:
        app.supervisor.startable(name)
    except Fault as fault:
        return Finding(subject, "warning", str(fault), fault.failure.hint)
    known = app.supervisor.definitions(name)
    seen = f"{len(known)} tools when last seen" if known is not None else "never started"
    return Finding(subject, "ok", f"may start, {seen}")
