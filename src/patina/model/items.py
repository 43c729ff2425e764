"""Items: the durable facts of a conversation, one transcript line each (`docs/transcripts.md`).

Keys that every item has: `id` (UUID 7), `parent` (the item before it on its branch, key `p`),
`ts` (UTC, ISO 8601 with milliseconds), `device` (who wrote it, key `by`) and the format `v`.
Messages, questions, decisions, calls, results and notes are the nodes of the conversation's tree;
the other kinds speak about it and are never anyone's parent.
"""

from typing import Literal

from msgspec import Struct

from patina.model.options import TurnOptions
from patina.model.parts import Part, ResultPart
from patina.model.questions import Answered, Asked, TaskState
from patina.model.settings import PermissionRule
from patina.model.usage import Cost, Usage

Role = Literal["user", "assistant"]
StopReason = Literal[
    "stop",
    "length",
    "tool_calls",
    "tool_calls_limit",
    "max_turns",
    "content_filter",
    "refusal",
    "cancelled",
    "error",
]
CallStatus = Literal["completed", "failed", "denied", "timed_out", "interrupted"]
Choice = Literal["allow_once", "allow_session", "allow_always", "deny"]
NoteLevel = Literal["info", "warning", "error"]


class Item(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="k",
    rename={"parent": "p", "device": "by"},
):
    """What every transcript line has."""

    id: str
    ts: str
    parent: str | None = None
    device: str = ""
    v: int = 1


class Head(Item, frozen=True, kw_only=True, tag="head"):
    """First line of a transcript file. `id` equals `conversation` and the file's name."""

    conversation: str
    format: int
    app: str


class Message(Item, frozen=True, kw_only=True, tag="msg"):
    """A whole user or assistant message.

    Assistant messages name the `provider` and `model` that wrote them, and why they stopped;
    `stop_reason` is "tool_calls" where the turn goes on. `partial` marks an answer that was cut
    or interrupted. Durations are milliseconds. `sources` are the servers whose resources and
    prompts stand in a message of the user.
    """

    role: Role
    parts: tuple[Part, ...]
    sources: tuple[str, ...] = ()
    provider: str = ""
    model: str = ""
    stop_reason: StopReason | None = None
    usage: Usage | None = None
    cost: Cost | None = None
    partial: bool = False
    duration_ms: int | None = None
    first_token_ms: int | None = None


class ReplyStart(Item, frozen=True, kw_only=True, tag="start"):
    """A request is about to leave. `message` is the id its answer will have; `turn` the user's.

    `options` are those of the turn, so that it can go on after a restart.
    """

    message: str
    turn: str
    provider: str
    model: str
    hold: str | None = None
    options: TurnOptions = TurnOptions()


class Checkpoint(Item, frozen=True, kw_only=True, tag="chk"):
    """What `message` gained since the last checkpoint, about a second ago. Not synced."""

    message: str
    text: str = ""
    thinking: str = ""


class Ask(Item, frozen=True, kw_only=True, tag="ask"):
    """A question to the user about one tool call, synced before anyone is shown it.

    Questions of one `batch` are put together. `effects` are the server's claims of the tool.
    `offers` are the rules that "allow_always" may write, the narrowest first. A question of the
    kind "rounds" is about the turn: whether it may go on, beyond its bound of replies. One of the
    kind "price" is about a request: whether it is sent, though nobody knows what the model named in
    `display_name` costs.
    """

    message: str
    call_id: str
    server: str
    tool: str
    arguments: str
    display_name: str
    options: tuple[Choice, ...]
    reason: str = ""
    kind: Literal["call", "rounds", "price"] = "call"
    batch: str = ""
    effects: tuple[str, ...] = ()
    offers: tuple[PermissionRule, ...] = ()


class Decision(Item, frozen=True, kw_only=True, tag="decision"):
    """What was decided about a call. `rule` names what decided it; "user" is a person's answer.

    `arguments` is the JSON text that a person put in place of the model's; `wrote` is the rule
    that "allow_always" wrote.
    """

    message: str
    call_id: str
    choice: Choice
    rule: str
    ask: str | None = None
    reason: str = ""
    arguments: str = ""
    wrote: PermissionRule | None = None


class Call(Item, frozen=True, kw_only=True, tag="call"):
    """The intent to run a tool, on disk before it runs. `arguments` is checked JSON text."""

    message: str
    call_id: str
    server: str
    tool: str
    arguments: str


class Result(Item, frozen=True, kw_only=True, tag="result"):
    """How a call ended, whether or not it ever ran. `parts` is what the model sees.

    `retriable` says that it failed of something that may pass; `bound` is the seconds it had,
    where it timed out.
    """

    message: str
    call_id: str
    server: str
    tool: str
    status: CallStatus
    parts: tuple[ResultPart, ...]
    duration_ms: int = 0
    retriable: bool = False
    bound: float = 0.0


class Question(Item, frozen=True, kw_only=True, tag="question"):
    """What a server asks a person while a call runs, synced before anyone is shown it."""

    message: str
    call_id: str
    server: str
    display_name: str
    asked: Asked


class Answer(Item, frozen=True, kw_only=True, tag="answer"):
    """The answer to `question`. `rule` names what gave it; "user" is a person."""

    message: str
    call_id: str
    question: str
    answered: Answered
    rule: str = "user"


class Task(Item, frozen=True, kw_only=True, tag="task"):
    """A call goes on as a task of its server. The newest one of a call counts."""

    message: str
    call_id: str
    server: str
    tool: str
    state: TaskState


class Meta(Item, frozen=True, kw_only=True, tag="meta"):
    """Facts about the conversation, each the last writer's. None leaves a fact as it was."""

    title: str | None = None
    tags: tuple[str, ...] | None = None
    folder: str | None = None
    archived: bool | None = None
    pinned: bool | None = None
    deleted: bool | None = None
    system: str | None = None
    model: str | None = None
    tools: tuple[str, ...] | None = None


class Leaf(Item, frozen=True, kw_only=True, tag="leaf"):
    """The branch that ends in `item` is the active one."""

    item: str


class Hide(Item, frozen=True, kw_only=True, tag="hide"):
    """`item` is not to be shown or sent any more."""

    item: str


class Note(Item, frozen=True, kw_only=True, tag="note"):
    """Something told to the user that the model does not see. `kind` is an error kind or "".

    A note with `covers` is a summary, which the model is sent in place of everything up to the item
    of that id; `provider` and `model` wrote it, and `usage` and `cost` are those of all requests
    for it. A note of the kind `TOOLS_REFUSED` says that `provider` and `model` are offered no tools
    until the conversation's model changes.
    """

    level: NoteLevel
    text: str
    hint: str = ""
    kind: str = ""
    covers: str | None = None
    provider: str = ""
    model: str = ""
    usage: Usage | None = None
    cost: Cost | None = None


AnyItem = (
    Head
    | Message
    | ReplyStart
    | Checkpoint
    | Ask
    | Decision
    | Call
    | Result
    | Question
    | Answer
    | Task
    | Meta
    | Leaf
    | Hide
    | Note
)
FACTS = ("title", "tags", "folder", "archived", "pinned", "deleted", "system", "model", "tools")
TreeItem = Message | Ask | Decision | Call | Result | Question | Answer | Task | Note
TREE_KINDS = (Message, Ask, Decision, Call, Result, Question, Answer, Task, Note)
