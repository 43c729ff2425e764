"""`patina config`: show and change settings."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from patina.cli.context import context
from patina.cli.editor import open_editor
from patina.cli.output import print_json, print_listing
from patina.config.keys import join_key, leaves, look_up, names_secret, split_key
from patina.config.load import WARNINGS
from patina.model.faults import ConfigFault, Fault, UsageFault
from patina.model.settings import Configured
from patina.views.terminal_text import safe_text


@click.group()
def config() -> None:
    """Show and change settings.

    Examples:
      patina config get
      patina config set default_model openai/gpt-5.2
      patina config edit
    """


@config.command()
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def get(ctx: click.Context, key: str | None, as_json: bool) -> None:
    """Show settings and where each comes from.

    KEY is dotted, as chat.max_tokens; a part that holds a dot is quoted. Keys are never shown,
    only what refers to them.

    Examples:
      patina config get
      patina config get default_model
      patina config get providers --json
    """
    run = context(ctx)
    configured = run.load()
    for warning in configured.extra.get(WARNINGS, ()):
        print(f"patina: {safe_text(warning)}", file=sys.stderr)
    path = split_key(key) if key else ()
    rows = _rows(configured, path)
    if len(rows) == 1 and rows[0]["key"] == join_key(path):
        if as_json:
            print_json(rows[0])
        else:
            value = rows[0]["value"]
            print(value if isinstance(value, str) else _text(value))
        return
    if not as_json:
        rows = [{**row, "value": _text(row["value"])} for row in rows]
    columns = {"key": "KEY", "value": "VALUE", "source": "SOURCE", "where": "WHERE"}
    print_listing(rows, columns, as_json=as_json)


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.pass_context
def set_(ctx: click.Context, key: str, value: str) -> None:
    """Set KEY to VALUE.

    Lists are written as a,b and tables as in TOML. Nothing is written if the result would not
    load. An API key goes to the secrets; `patina keys set` keeps it off the command line.

    Examples:
      patina config set default_model openai/gpt-5.2
      patina config set providers.lab.base_url http://127.0.0.1:8000/v1
    """
    from patina.config.literals import find_literals
    from patina.config.save import set_value

    run = context(ctx)
    path = split_key(key)
    if path[-1] == "api_key" and len(path) == 3 and path[0] == "providers":
        for literal in find_literals({"providers": {path[1]: {"api_key": value}}}):
            run.keys.set(literal.name, literal.value)
            value = f"secret:{literal.name}"
            print(f'patina: The key is kept as the secret "{literal.name}".', file=sys.stderr)
    set_value(run.paths, key, value)


@config.command()
@click.argument("key")
@click.pass_context
def unset(ctx: click.Context, key: str) -> None:
    """Remove KEY, a value or a whole table, from the file.

    Examples:
      patina config unset default_model
      patina config unset providers.lab
    """
    from patina.config.save import unset_value

    run = context(ctx)
    if not unset_value(run.paths, key):
        raise UsageFault(
            f"{key} is not set in {run.paths.config_file().name}.",
            hint="`patina config get` shows what is set, and where.",
        )


@config.command()
@click.pass_context
def path(ctx: click.Context) -> None:
    """Print the path of the configuration file, which need not exist yet.

    Example:
      less "$(patina config path)"
    """
    print(context(ctx).paths.config_file())


@config.command()
@click.pass_context
def edit(ctx: click.Context) -> None:
    """Open the configuration in $VISUAL or $EDITOR and check it afterwards.

    Example:
      EDITOR=nano patina config edit
    """
    run = context(ctx)
    file = run.paths.config_file()
    draft = file.with_name(f"{file.stem}.draft.toml")
    before = file.read_bytes() if file.exists() else b""
    if not draft.exists():
        _begin(draft, before or b"version = 1\n")
    while True:
        open_editor(run.environment.process, draft)
        try:
            _take(file, draft, before)
            return
        except Fault as fault:
            _again_or_raise(fault, draft)


def _rows(configured: Configured, path: tuple[str, ...]) -> list[dict[str, Any]]:
    import msgspec

    everything = _everything(configured)
    try:
        found = look_up(everything, path)
    except LookupError:
        from patina.config.schema import type_at

        type_at(path)  # says what is wrong with a name that no setting has
        raise UsageFault(
            f"{join_key(path)} is not set.", hint="`patina config get` shows all settings."
        ) from None
    rows = []
    for place, value in leaves(found, path):
        source = configured.source(join_key(place))
        rows.append(
            {
                "key": join_key(place),
                "value": _shown(place, msgspec.to_builtins(value)),
                "source": source.kind,
                "where": source.where,
            }
        )
    return rows


def _everything(configured: Configured) -> dict[str, Any]:
    """Return all settings, defaults included, as plain data."""
    import msgspec

    def plain(value: object) -> Any:  # noqa: ANN401
        if isinstance(value, msgspec.Struct):
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return value

    return {name: value for name, value in plain(configured.settings).items() if value != {}}


def _shown(path: tuple[str, ...], value: Any) -> Any:  # noqa: ANN401
    from patina.config.literals import is_reference

    hidden = isinstance(value, str) and value and names_secret(path[-1]) and not is_reference(value)
    return "***" if hidden else value


def _text(value: object) -> str:
    from patina.model.codec import encode_json

    return value if isinstance(value, str) else encode_json(value).decode()


def _begin(draft: Path, content: bytes) -> None:
    from patina.config.paths import private_folder

    try:
        private_folder(draft.parent)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise ConfigFault(f"{draft} cannot be written: {error.strerror}.") from None


def _take(file: Path, draft: Path, before: bytes) -> None:
    """Make the draft the configuration. Raises `ConfigFault` where it would not load."""
    from patina.config.files import update_file
    from patina.config.save import check_content

    after = draft.read_bytes()
    check_content(file, after)

    def change(now: bytes) -> bytes:
        if now != before:
            raise ConfigFault(
                f"{file.name} was changed by another program meanwhile.",
                hint=f"What you wrote is in {draft}.",
            )
        return after

    if after != before:
        update_file(file, change)
    draft.unlink()


def _again_or_raise(fault: Fault, draft: Path) -> None:
    """Show what is wrong and go on where a person wants to; else raise `fault`."""
    if sys.stdin is not None and sys.stdin.isatty():
        print(f"patina: {safe_text(fault.failure.message)}", file=sys.stderr)
        if click.confirm("Edit it again?", default=True, err=True):
            return
    raise ConfigFault(
        fault.failure.message,
        hint=f"The configuration is as before. What you wrote is in {draft}; "
        "`patina config edit` opens it again.",
    )
