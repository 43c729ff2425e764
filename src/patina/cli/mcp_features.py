"""What servers offer beside tools, on the command line: resources, prompts, completion."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patina.cli.context import context
from patina.cli.output import print_json, print_listing
from patina.model.faults import UsageFault

if TYPE_CHECKING:
    from patina.assembly.app import App
    from patina.cli.terminal_dialog import TerminalDialog
    from patina.ports.features import Completion, Content

_APPROVE = click.option(
    "--approve", default="ask", metavar="LIST", help="start:SERVER starts it this once."
)
_REFRESH = click.option("--refresh", is_flag=True, help="Ask the server anew.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ANSWER = click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="JSON",
    help="Answer what the server asks: the values of a form. Once for each question, in order.",
)
_DECLINE = click.option("--decline", is_flag=True, help="Refuse whatever else the server asks.")
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("server")
@click.option("--templates", is_flag=True, help="List the templates of addresses instead.")
@_REFRESH
@_APPROVE
@_JSON
@click.pass_context
def resources(
    ctx: click.Context, server: str, templates: bool, refresh: bool, approve: str, as_json: bool
) -> None:
    r"""List the resources of SERVER, from the cache where it was seen before.

    \b
    Examples:
      patina mcp resources everything
      patina mcp resources everything --templates --json
    """
    from patina.cli.consent import need_start
    from patina.cli.running import run_app, setup_of

    async def body(app: "App") -> list[dict[str, Any]]:
        await need_start(app, server)
        if templates:
            found = await app.features.templates((server,), refresh=refresh)
            return [_plain(template) for template in found]
        listed = await app.features.resources((server,), refresh=refresh)
        return [_plain(resource) for resource in listed]

    rows = run_app(setup_of(context(ctx), approve, save=False), body, discover=False)
    address = {"template": "TEMPLATE"} if templates else {"uri": "ADDRESS"}
    size = {} if templates else {"size": "BYTES"}
    columns = {**address, "name": "NAME", "media_type": "TYPE", **size, "description": "WHAT IT IS"}
    what = "templates" if templates else "resources"
    print_listing(rows, columns, as_json=as_json, empty=f"{server} offers no {what}.")


@click.command()
@click.argument("server")
@click.argument("uri")
@click.option("-o", "--output", type=_PATH, metavar="PATH", help="Write it there.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@_ANSWER
@_DECLINE
@_APPROVE
@_JSON
@click.pass_context
def read(
    ctx: click.Context,
    server: str,
    uri: str,
    output: Path | None,
    force: bool,
    answers: tuple[str, ...],
    decline: bool,
    approve: str,
    as_json: bool,
) -> int:
    r"""Read the resource URI of SERVER and print it.

    What is no text is printed only into a pipe or written to a file. As JSON its bytes stand in
    "blob", in Base64. A resource of several contents goes to numbered files of the folder PATH.

    \b
    Examples:
      patina mcp read everything demo://resource/dynamic/text/1
      patina mcp read everything demo://resource/dynamic/blob/1 -o out.bin
    """
    from patina.cli.resource_output import as_object, print_contents, write_contents
    from patina.cli.running import run_app, setup_of
    from patina.cli.signals import Signals
    from patina.cli.terminal_dialog import attended, given_of

    signals, given = Signals(), given_of(answers, decline=decline)
    if output is not None and as_json:
        raise UsageFault("--output and --json contradict each other.", hint="Choose one.")

    async def body(app: "App") -> int:
        async def work(dialog: "TerminalDialog") -> "tuple[Content, ...]":
            return await app.features.read(server, uri, dialog)

        name = f"Reading {uri}"
        contents = await attended(app, server, name, work, given=given, signals=signals)
        if as_json:
            print_json(await as_object(server, uri, contents, app.journal))
        elif output is not None:
            await write_contents(contents, app.journal, output, force=force)
        else:
            await print_contents(contents, app.journal)
        return 0

    setup = setup_of(context(ctx), approve, save=False)
    return run_app(setup, body, discover=False, signals=signals)


@click.command()
@click.argument("server")
@_REFRESH
@_APPROVE
@_JSON
@click.pass_context
def prompts(ctx: click.Context, server: str, refresh: bool, approve: str, as_json: bool) -> None:
    r"""List the prompts of SERVER, from the cache where it was seen before.

    In a chat each is a command: /SERVER:PROMPT KEY=VALUE.

    \b
    Examples:
      patina mcp prompts everything
      patina mcp prompts everything --refresh --json
    """
    from patina.cli.consent import need_start
    from patina.cli.running import run_app, setup_of
    from patina.cli.server_prompts import takes

    async def body(app: "App") -> list[dict[str, Any]]:
        await need_start(app, server)
        listed = await app.features.prompts((server,), refresh=refresh)
        return [{**_plain(one), "takes": takes(one)} for one in listed]

    rows = run_app(setup_of(context(ctx), approve, save=False), body, discover=False)
    if as_json:
        rows = [{key: row[key] for key in row if key != "takes"} for row in rows]
    columns = {"name": "PROMPT", "takes": "TAKES", "description": "WHAT IT SAYS IT DOES"}
    print_listing(rows, columns, as_json=as_json, empty=f"{server} offers no prompts.")


@click.command()
@click.argument("server")
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@_ANSWER
@_DECLINE
@_APPROVE
@_JSON
@click.pass_context
def prompt(
    ctx: click.Context,
    server: str,
    name: str,
    values: tuple[str, ...],
    answers: tuple[str, ...],
    decline: bool,
    approve: str,
    as_json: bool,
) -> int:
    r"""Run the prompt NAME of SERVER and print its messages. No model is asked.

    What it needs and was not given is asked for on a terminal. As JSON the bytes of pictures and
    files stand in "data", in Base64.

    \b
    Examples:
      patina mcp prompt everything simple-prompt
      patina mcp prompt everything args-prompt city=Zurich --json
    """
    from patina.cli.resource_output import with_bytes
    from patina.cli.running import run_app, setup_of
    from patina.cli.server_prompts import print_messages, run_prompt
    from patina.cli.signals import Signals
    from patina.cli.terminal_dialog import given_of

    signals, given = Signals(), given_of(answers, decline=decline)

    async def body(app: "App") -> int:
        messages = await run_prompt(app, server, name, values, given=given, signals=signals)
        if as_json:
            said = [
                {"role": spoken.role, "parts": await with_bytes(spoken.parts, app.journal)}
                for spoken in messages
            ]
            print_json({"server": server, "prompt": name, "messages": said})
        else:
            print_messages(messages)
        return 0

    setup = setup_of(context(ctx), approve, save=False)
    return run_app(setup, body, discover=False, signals=signals)


@click.command()
@click.argument("server")
@click.argument("argument")
@click.argument("value", default="")
@click.option("--prompt", "of_prompt", metavar="NAME", help="The prompt that takes ARGUMENT.")
@click.option("--template", "of_template", metavar="URI", help="The template that has ARGUMENT.")
@click.option("--known", multiple=True, metavar="KEY=VALUE", help="An argument that has its value.")
@_APPROVE
@_JSON
@click.pass_context
def complete(
    ctx: click.Context,
    server: str,
    argument: str,
    value: str,
    of_prompt: str | None,
    of_template: str | None,
    known: tuple[str, ...],
    approve: str,
    as_json: bool,
) -> None:
    r"""List values for ARGUMENT that begin with VALUE, as SERVER completes them.

    \b
    Examples:
      patina mcp complete everything --prompt completable-prompt department E
      patina mcp complete everything --prompt completable-prompt name --known department=Sales
    """
    from patina.cli.consent import need_start
    from patina.cli.running import run_app, setup_of
    from patina.cli.server_prompts import pairs

    if bool(of_prompt) == bool(of_template):
        raise UsageFault("Whose argument is it?", hint="Give --prompt NAME or --template URI.")
    given = pairs(known)

    async def body(app: "App") -> "Completion":
        await need_start(app, server)
        return await app.features.complete(
            server,
            argument=argument,
            value=value,
            prompt=of_prompt or "",
            template=of_template or "",
            known=given,
        )

    found = run_app(setup_of(context(ctx), approve, save=False), body, discover=False)
    rows = [{"value": one} for one in found.values]
    if as_json:
        print_json({"values": found.values, "total": found.total})
    else:
        print_listing(rows, {"value": "VALUE"}, as_json=False, empty="Nothing fits.")


@click.command()
@click.argument("server")
@click.argument("uri")
@_APPROVE
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each change.")
@click.pass_context
def watch(ctx: click.Context, server: str, uri: str, approve: str, as_json: bool) -> None:
    r"""Print a line whenever the resource URI of SERVER changes, until Ctrl+C.

    \b
    Example:
      patina mcp watch everything demo://resource/dynamic/text/1
    """
    from patina.cli.resource_watch import watch_resource
    from patina.cli.running import run_app, setup_of

    async def body(app: "App") -> None:
        await watch_resource(app, server, uri, as_json=as_json)

    run_app(setup_of(context(ctx), approve, save=False), body, discover=False)


def _plain(shape: Any) -> Any:  # noqa: ANN401 - any of the port's shapes, and what is in them
    """Return every field by its name, absent ones too: what programs read has one shape."""
    import msgspec

    if isinstance(shape, msgspec.Struct):
        return {name: _plain(getattr(shape, name)) for name in shape.__struct_fields__}
    return [_plain(one) for one in shape] if isinstance(shape, tuple) else shape
