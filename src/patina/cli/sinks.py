"""Where the events of one `ask` are shown: as text, as one JSON object, or as a line each."""

import sys
from math import ceil
from typing import Final, Protocol

from patina.cli.output import print_json
from patina.cli.result import AskResult
from patina.cli.status_line import StatusLine, progress_text
from patina.model import events
from patina.model.items import Message, Note
from patina.model.parts import text_of
from patina.views.terminal_text import safe_text
from patina.views.tool_card import running_text as tool_text

_LOUD: Final = ("notice", "warning", "error", "critical", "alert", "emergency")
_ENDS: Final = {
    "length": "The answer ends here because it may not be longer. --max-tokens allows more.",
    "content_filter": "The provider's content filter ended the answer here.",
    "refusal": "The model refused to answer.",
}


class Sink(Protocol):
    """Shows events as they come, and the end.

    `everything` says whether it wants all events as the engine told them, or those of the turn
    with large texts whole.
    """

    everything: bool

    def show(self, event: events.AnyEvent) -> None:
        """Show one event."""

    def finish(self, result: AskResult, duration_ms: int) -> None:
        """Show how it ended."""


class TextSink:
    """The answer on stdout as it streams; what tools do, on stderr: how far they are, only on a
    terminal, where one line is written again and again.

    On a terminal the text is sanitised; a pipe gets it unchanged. `states` says whether a provider
    that cannot be reached is told of beside the requests that fail for it.
    """

    everything = False

    def __init__(self, *, stream: bool, quiet: bool, states: bool = False) -> None:
        self._stream = stream
        self._states = states
        self._quiet = quiet
        self._terminal = sys.stdout.isatty()
        self._message = ""  # the message that was last streamed, and what was written of it
        self._pieces: list[str] = []
        self._open_line = False
        self._status = StatusLine()
        self._reached: events.LimitReached | None = None
        self._tasks: dict[str, str] = {}  # by call, how far the server said it was

    def show(self, event: events.AnyEvent) -> None:
        """Show one event."""
        if not self._passing(event):
            self._lasting(event)

    def _passing(self, event: events.AnyEvent) -> bool:
        """Show how far something is; whether the event is no more than that."""
        text = ""
        if isinstance(event, events.CostChanged):
            # Over the words of an answer nothing can be written: between its lines only.
            if self._terminal and not self._open_line and not self._quiet:
                from patina.views.money import running_text

                self._status.show(running_text(event.cost))
            return True
        if isinstance(event, events.ToolProgress):
            text = progress_text(event.tool, event.done, event.total, event.text)
        elif isinstance(event, events.ToolLogged) and event.level not in _LOUD:
            text = f"{event.tool}: {event.text}" if event.level != "debug" else ""
        elif isinstance(event, events.TaskChanged):
            item, state = event.item, event.item.state
            text = f"{item.server}.{item.tool}: task {state.status}"
            if self._tasks.get(item.call_id) != state.status:
                self._tasks[item.call_id] = state.status
                self._say(text)
            text = f"{text}: {state.text}" if state.text else ""
        else:
            return False  # loud logs too
        if text and not self._quiet:
            self._end_line()
            self._status.show(text)
        return True

    def _lasting(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.TextDelta):
            if self._stream:
                self._pieces.append(event.text)
                self._message = event.item_id
                self._write(event.text)
        elif isinstance(event, events.MessageAdded):
            if event.item.role == "assistant":
                self._rest(event.item)
                self._end_line()
        elif isinstance(event, events.ToolStarted):
            self._say(tool_text(f"{event.item.server}.{event.item.tool}"))
        elif isinstance(event, events.ToolFinished):
            mark = "✓" if event.item.status == "completed" else "✗"
            self._say(f"{event.text} {mark}")
            if event.item.status == "failed":
                self._say(f"  {text_of(event.item.parts)}")
        elif isinstance(event, events.ToolLogged):
            self._say(f"{event.tool}, {event.level}: {event.text}")
        elif isinstance(event, events.ReplyRetrying):
            seconds = max(1, ceil(event.wait))
            self._say(f"{event.error.message} Patina asks again by itself in {seconds} s.")
        elif isinstance(event, events.NoteAdded):
            self._note(event.item)
        elif isinstance(event, events.SummaryProgress):
            if event.done < event.total:
                where = f" ({event.done + 1} of {event.total})" if event.total > 1 else ""
                self._say(f"Summarising the older messages{where}...")
        elif isinstance(event, events.ProviderChanged):
            self._provider(event)
        elif isinstance(event, events.LimitWarned):
            # The chat has its own ear for what concerns more than this conversation.
            if event.conversation or not self._states:
                self._say(event.text)
        elif isinstance(event, events.LimitReached):
            self._reached = event

    def _provider(self, event: events.ProviderChanged) -> None:
        if self._states and event.state != "ready":
            self._say(event.text or f"{event.provider} is {event.state}.")

    def _note(self, note: Note) -> None:
        """Say what nothing else says: an error is told by the command's one error line."""
        if note.covers is not None:
            self._say("The older messages are summarised.")
        elif note.level == "warning":
            self._say(f"{note.text} {note.hint}".rstrip())

    def _rest(self, message: Message) -> None:
        """Write what of the whole message was not streamed, all of it where pieces were lost."""
        written = "".join(self._pieces) if message.id == self._message else ""
        self._pieces.clear()
        whole = text_of(message.parts)
        if not whole.startswith(written):
            self._end_line()
            written = ""
        self._write(whole[len(written) :])

    def _write(self, text: str) -> None:
        if not text:
            return
        self._status.clear()
        sys.stdout.write(safe_text(text) if self._terminal else text)
        sys.stdout.flush()
        self._open_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._open_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open_line = False

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._status.clear()
            self._end_line()
            sys.stderr.write(f"{safe_text(text)}\n")
            sys.stderr.flush()

    def finish(self, result: AskResult, duration_ms: int) -> None:
        """End the line, and say how an answer ended that is not whole.

        An error is told by the command's one error line.
        """
        self._status.clear()
        self._end_line()
        if result.error is None and result.stop_reason in _ENDS:
            self._say(_ENDS[result.stop_reason])
        elif result.error is None and result.stop_reason == "stop" and not result.text.strip():
            self._say("The model ended its answer without a word.")
        if self._reached is not None and (result.error is None or result.error.kind != "limit"):
            self._say(f"{self._reached.text} {self._reached.hint}")


class JsonSink:
    """One JSON object at the end."""

    everything = False

    def show(self, event: events.AnyEvent) -> None:
        """Show nothing yet."""

    def finish(self, result: AskResult, duration_ms: int) -> None:
        """Print the object."""
        print_json(result.as_json(duration_ms), indent=False)


class EventsSink:
    """Every event as a line of JSON; the last is `ask.finished`."""

    everything = True

    def __init__(self) -> None:
        self._seq = 0
        self._ts = ""

    def show(self, event: events.AnyEvent) -> None:
        """Print the event."""
        self._seq, self._ts = event.seq, event.ts
        print_json(event, indent=False)

    def finish(self, result: AskResult, duration_ms: int) -> None:
        """Print the end."""
        end = events.AskFinished(
            seq=self._seq + 1,
            ts=self._ts,
            conversation=result.session_id,
            result=result.as_json(duration_ms),
        )
        print_json(end, indent=False)
