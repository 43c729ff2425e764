"""Events: all that the engine says. `docs/events.md` lists them with their fields.

`seq` ascends by one per event of an engine; the bus sets it and `ts` when it publishes. Durable
events carry the item that is already in the journal; the rest is live only (`durable.py`).
"""

from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct, field

from patina.model.faults import Failure
from patina.model.items import (
    Answer,
    Ask,
    Call,
    Decision,
    Head,
    Hide,
    Leaf,
    Message,
    Meta,
    Note,
    Question,
    ReplyStart,
    Result,
    StopReason,
    Task,
)
from patina.model.money import Limit
from patina.model.parts import Part
from patina.model.sign_in import SignIn
from patina.model.usage import Cost, Usage

ServerState = Literal["disabled", "idle", "starting", "connected", "reconnecting", "error"]


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every event has. `conversation` is "" where an event is about none."""

    seq: int = 0
    ts: str = ""
    conversation: str = field(default="", name="session_id")


class ConversationCreated(Event, kw_only=True, tag="conversation.created"):
    """A transcript was begun."""

    item: Head


class ConversationOpened(Event, kw_only=True, tag="conversation.opened"):
    """A conversation is loaded. `damaged` counts unreadable lines that were left alone.

    `title` is how it begins, until it has one.
    """

    title: str = ""
    damaged: int = 0


class ConversationErased(Event, kw_only=True, tag="conversation.erased"):
    """The conversation is gone for good, or only the content of the item `item_id`."""

    item_id: str = ""


class MessageAdded(Event, kw_only=True, tag="message.added"):
    """A user or assistant message is whole."""

    item: Message


class ReplyStarted(Event, kw_only=True, tag="reply.started"):
    """A request leaves for the provider."""

    item: ReplyStart


class PermissionAsked(Event, kw_only=True, tag="permission.asked"):
    """A tool call waits for a person: answer with `permission.answer`."""

    item: Ask


class PermissionDecided(Event, kw_only=True, tag="permission.decided"):
    """A call was allowed or denied."""

    item: Decision


class ToolStarted(Event, kw_only=True, tag="tool.started"):
    """A tool is about to run. `text` is what to show."""

    item: Call
    text: str


class ToolFinished(Event, kw_only=True, tag="tool.finished"):
    """A call has its result. `text` is what to show."""

    item: Result
    text: str


class QuestionAsked(Event, kw_only=True, tag="question.asked"):
    """A server asks something of a person. Answer with `question.answer`; the first one counts."""

    item: Question


class QuestionAnswered(Event, kw_only=True, tag="question.answered"):
    """A server's question has its answer, from whoever gave it."""

    item: Answer


class TaskChanged(Event, kw_only=True, tag="task.changed"):
    """A call that its server carries out as a task got on."""

    item: Task


class ToolProgress(Event, kw_only=True, tag="tool.progress"):
    """A call says how far it is: `done` of `total` (None: nobody knows), in the server's units."""

    call_id: str
    tool: str
    done: float
    total: float | None = None
    text: str = ""


class ToolLogged(Event, kw_only=True, tag="tool.logged"):
    """A server says something for people while a call runs. `level` is one of syslog's words."""

    call_id: str
    tool: str
    level: str
    text: str


class ResourceChanged(Event, kw_only=True, tag="resource.changed"):
    """A resource that was subscribed to has new content."""

    server: str
    uri: str


class NoteAdded(Event, kw_only=True, tag="note.added"):
    """Something to tell the user."""

    item: Note


class MetaChanged(Event, kw_only=True, tag="meta.changed"):
    """Facts about the conversation changed."""

    item: Meta


class BranchSelected(Event, kw_only=True, tag="branch.selected"):
    """Another branch is active."""

    item: Leaf


class ItemHidden(Event, kw_only=True, tag="item.hidden"):
    """An item is not to be shown any more."""

    item: Hide


class DraftChanged(Event, kw_only=True, tag="draft.changed"):
    """What is typed and not sent yet; without `parts`, nothing. Fields as in `draft.save`."""

    parts: tuple[Part, ...] = ()
    parent: str | None = None


class LibraryChanged(Event, kw_only=True, tag="library.changed"):
    """A list of conversations may have to be read again. Told at most twice a second."""


class TurnStarted(Event, kw_only=True, tag="turn.started"):
    """The engine begins to answer the user message `turn_id`."""

    turn_id: str
    provider: str
    model: str


class TurnEnded(Event, kw_only=True, tag="turn.ended"):
    """The model needs nothing more, or the turn was ended. `error` says why where it failed."""

    turn_id: str
    stop_reason: StopReason
    usage: Usage = Usage()
    error: Failure | None = None


class TextDelta(Event, kw_only=True, tag="text.delta"):
    """More text of the message `item_id`. Deltas of one part may be merged."""

    item_id: str
    text: str
    index: int = 0


class ThinkingDelta(Event, kw_only=True, tag="thinking.delta"):
    """More reasoning of the message `item_id`. Deltas of one part may be merged."""

    item_id: str
    text: str
    index: int = 0


class ToolCallDelta(Event, kw_only=True, tag="tool_call.delta"):
    """More arguments of a call that the model is writing. `name` is `server.tool` once known."""

    item_id: str
    index: int
    name: str = ""
    text: str = ""


class ReplyRetrying(Event, kw_only=True, tag="reply.retrying"):
    """The provider failed before its first word; the request is sent again in `wait` seconds."""

    item_id: str
    error: Failure
    wait: float
    attempt: int


class ServerChanged(Event, kw_only=True, tag="server.changed"):
    """An MCP server's state changed. `text` goes beside its badge: the reason of an error, what
    is waited for, "" where the state says it all.
    """

    server: str
    state: ServerState
    text: str = ""
    tools: int = 0


class SignInChanged(Event, kw_only=True, tag="sign_in.changed"):
    """The sign-in to a server got on. `text` is its status, `button` what can be done ("" nothing).

    `busy`: the button cannot be pressed now, and a person is waited for; `retry`: it failed, and
    may be tried again.
    """

    sign_in: SignIn
    text: str
    button: str = ""
    busy: bool = False
    retry: bool = False


class ServerNotice(Event, kw_only=True, tag="server.notice"):
    """What a person should be told of an MCP server now: a toast, or a line of its own.

    It was lost ("warning"), is connected ("success"), or will not be tried again ("error").
    """

    server: str
    level: Literal["warning", "success", "error"]
    text: str


class ProviderChanged(Event, kw_only=True, tag="provider.changed"):
    """What the last request to a provider came to: it answers, bounds requests, or is away.

    `text` says it in words, with the reason where it does not answer.
    """

    provider: str
    state: Literal["ready", "limited", "offline"]
    text: str = ""


class CostChanged(Event, kw_only=True, tag="cost.changed"):
    """What the answer `item_id` costs so far, while it comes. The message has what it did cost."""

    item_id: str
    cost: Cost


class LimitWarned(Event, kw_only=True, tag="limit.warned"):
    """More than `share` of a limit is spent. Told once for each `period`: a day, a month, or ""."""

    limit: Limit
    share: Decimal
    spent: Decimal
    text: str
    period: str = ""


class LimitReached(Event, kw_only=True, tag="limit.reached"):
    """A limit stops requests from now on; `hint` says what raises it. Told as `limit.warned`."""

    limit: Limit
    spent: Decimal
    text: str
    hint: str
    period: str = ""


class SummaryProgress(Event, kw_only=True, tag="summary.progress"):
    """The older messages are being summarised; `done` of `total` pieces are.

    `total` may grow. The end is told by the note itself, or by `command.failed`.
    """

    done: int
    total: int


class CommandFailed(Event, kw_only=True, tag="command.failed"):
    """A command could not be carried out. `command` is its type, `ref` the id it named."""

    command: str
    error: Failure
    ref: str = ""


class Resync(Event, kw_only=True, tag="resync"):
    """This reader was too slow and events were dropped: read the journal again, then go on.

    `running` are the conversations whose turn still runs; others have ended meanwhile.
    """

    dropped: int
    running: tuple[str, ...] = ()


class AskFinished(Event, kw_only=True, tag="ask.finished"):
    """Last line of `patina ask --events`; `result` is the object of `--json`."""

    result: dict[str, Any]


AnyEvent = (
    ConversationCreated
    | ConversationOpened
    | ConversationErased
    | MessageAdded
    | ReplyStarted
    | PermissionAsked
    | PermissionDecided
    | ToolStarted
    | ToolFinished
    | QuestionAsked
    | QuestionAnswered
    | TaskChanged
    | ToolProgress
    | ToolLogged
    | ResourceChanged
    | NoteAdded
    | MetaChanged
    | BranchSelected
    | ItemHidden
    | DraftChanged
    | LibraryChanged
    | TurnStarted
    | TurnEnded
    | TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | ReplyRetrying
    | ServerChanged
    | ServerNotice
    | SignInChanged
    | ProviderChanged
    | CostChanged
    | LimitWarned
    | LimitReached
    | SummaryProgress
    | CommandFailed
    | Resync
    | AskFinished
)
DurableItem = (
    Head
    | Message
    | ReplyStart
    | Ask
    | Decision
    | Call
    | Result
    | Question
    | Answer
    | Task
    | Note
    | Meta
    | Leaf
    | Hide
)
