"""Resources of servers as parts of a message."""

from typing import TYPE_CHECKING, Final

from patina.assembly.app import App
from patina.cli.attachments import MAX_BYTES
from patina.cli.signals import Signals
from patina.cli.terminal_dialog import attended
from patina.model.faults import UsageFault
from patina.model.parts import File, Part, Text
from patina.ports.features import Content
from patina.views.terminal_text import safe_line

if TYPE_CHECKING:
    from patina.cli.terminal_dialog import TerminalDialog

_PDF: Final = "application/pdf"


async def read_parts(app: App, server: str, uri: str, signals: Signals | None = None) -> list[Part]:
    """Return what a message gets of a resource: text with its address, images and PDFs.

    Raises `UsageFault` for anything else and for what is over `MAX_BYTES` bytes, and the `Fault`s
    of the server.
    """

    async def work(dialog: "TerminalDialog") -> tuple[Content, ...]:
        return await app.features.read(server, uri, dialog)

    contents = await attended(app, server, f"Reading {uri}", work, signals=signals)
    parts = [_part(server, content) for content in contents]
    if not parts:
        raise UsageFault(f"The resource {uri} is empty.")
    return parts


def _part(server: str, content: Content) -> Part:
    part = content.part
    if isinstance(part, Text):
        if len(part.text) > MAX_BYTES:
            raise UsageFault(f"{content.uri} is over {MAX_BYTES // 1_000_000} MB.")
        name = safe_line(content.uri).replace('"', "%22")
        return Text(f'<resource server="{server}" uri="{name}">\n{part.text}\n</resource>')
    if isinstance(part, File) and part.media_type != _PDF:
        raise UsageFault(
            f"{content.uri} is {part.media_type or 'data of no known kind'}, which no model reads.",
            hint="Attach resources that are text, images or PDF.",
        )
    return part
