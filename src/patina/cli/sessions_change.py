"""The verbs of `patina sessions` that change facts: names, tags, folders, and where one is kept."""

import click

from patina.cli import changing
from patina.cli.context import context
from patina.cli.secret_values import mask_of
from patina.model.faults import UsageFault
from patina.store.journal import FileJournal

_LONGEST = 200  # characters of a title, a tag or a folder

ids = click.argument("session_ids", metavar="ID...", nargs=-1, required=True)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("session_id", metavar="ID")
@click.argument("title", metavar="TITLE")
@as_json_option
@click.pass_context
def rename(ctx: click.Context, session_id: str, title: str, as_json: bool) -> None:
    r"""Give a conversation a title.

    \b
    Examples:
      patina sessions rename 01a1ffe8 "Bronze and its patina"
    """
    name = _name("title", title)
    changing.change(
        context(ctx), [session_id], f"is now named {name}.", as_json=as_json, title=name
    )


@click.command()
@click.argument("session_id", metavar="ID")
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", "removed", metavar="TAG", multiple=True, help="Take this one away.")
@as_json_option
@click.pass_context
def tag(
    ctx: click.Context, session_id: str, tags: tuple[str, ...], removed: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    r"""Add tags to a conversation, or take some away.

    \b
    Examples:
      patina sessions tag 01a1ffe8 art metal
      patina sessions tag 01a1ffe8 --remove metal
    """
    mask = mask_of(context(ctx))
    wanted = [_name("tag", mask(each)) for each in tags]
    unwanted = {_name("tag", each) for each in removed}
    if not wanted and not unwanted:
        raise UsageFault("No tag was named.", hint="Name some, or --remove TAG.")

    async def body(journal: FileJournal) -> tuple[str, tuple[str, ...]]:
        conversation = await journal.find(session_id)
        meta = (await journal.summary(conversation)).meta
        before = meta.tags or () if meta else ()
        after = dict.fromkeys(each for each in (*before, *wanted) if each not in unwanted)
        if tuple(after) != before:
            await changing.write_facts(journal, conversation, tags=tuple(after))
        return conversation, tuple(after)

    conversation, now = changing.with_journal(context(ctx), body)
    what = f"has the tags {', '.join(now)}." if now else "has no tags."
    changing.report([conversation], what, as_json=as_json, tags=now)


@click.command()
@ids
@click.option("--to", "folder", metavar="NAME", required=True, help='The folder; "" is none.')
@as_json_option
@click.pass_context
def folder(ctx: click.Context, session_ids: tuple[str, ...], folder: str, as_json: bool) -> None:
    r"""Put conversations into a folder, or take them out of theirs.

    \b
    Examples:
      patina sessions folder 01a1ffe8 01a20b11 --to Workshop
      patina sessions folder 01a1ffe8 --to ""
    """
    name = _name("folder", folder) if folder.strip() else ""
    what = f"is in the folder {name}." if name else "is in no folder."
    changing.change(context(ctx), session_ids, what, as_json=as_json, folder=name)


def _name(what: str, text: str) -> str:
    """Return `text` on one line. Raises `UsageFault` where nothing is left, or too much."""
    name = " ".join(text.split())
    if not name:
        raise UsageFault(f"The {what} is empty.", hint="Give it a word or two.")
    if len(name) > _LONGEST:
        raise UsageFault(f"The {what} has {len(name)} characters, more than {_LONGEST}.")
    return name


@click.command()
@ids
@as_json_option
@click.pass_context
def pin(ctx: click.Context, session_ids: tuple[str, ...], as_json: bool) -> None:
    r"""Keep conversations at the top of lists.

    \b
    Examples:
      patina sessions pin 01a1ffe8
    """
    changing.change(context(ctx), session_ids, "is pinned.", as_json=as_json, pinned=True)


@click.command()
@ids
@as_json_option
@click.pass_context
def unpin(ctx: click.Context, session_ids: tuple[str, ...], as_json: bool) -> None:
    r"""Let conversations stand in lists where their time is.

    \b
    Examples:
      patina sessions unpin 01a1ffe8
    """
    changing.change(context(ctx), session_ids, "is not pinned.", as_json=as_json, pinned=False)


@click.command()
@ids
@as_json_option
@click.pass_context
def archive(ctx: click.Context, session_ids: tuple[str, ...], as_json: bool) -> None:
    r"""Put conversations away: they are found, but listed only with --archived.

    \b
    Examples:
      patina sessions archive 01a1ffe8 01a20b11
    """
    changing.change(context(ctx), session_ids, "is archived.", as_json=as_json, archived=True)


@click.command()
@ids
@as_json_option
@click.pass_context
def unarchive(ctx: click.Context, session_ids: tuple[str, ...], as_json: bool) -> None:
    r"""Take conversations out of the archive.

    \b
    Examples:
      patina sessions unarchive 01a1ffe8
    """
    what = "is not archived."
    changing.change(context(ctx), session_ids, what, as_json=as_json, archived=False)
