"""Commands: all that a front end may ask of the engine. Plain, typed, serialisable.

Every command names its conversation. What comes of it is told by events; a command that cannot
be carried out is answered by `command.failed`.
"""

from typing import Final

from msgspec import Struct, field

from patina.model.items import Choice
from patina.model.options import TurnOptions
from patina.model.parts import Part, Spoken
from patina.model.questions import Answered
from patina.model.settings import PermissionRule

NEW_DRAFT: Final = "new"  # in place of an id: the draft of a conversation that has not begun


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every command has. `session_id` is the conversation's id on the wire."""

    conversation: str = field(name="session_id")


class SendMessage(Command, frozen=True, kw_only=True, tag="message.send"):
    """Say something and start a turn.

    The first message creates the conversation. `message_id` (UUID 7) is the id of the user
    message: a command that is sent twice is carried out once. `model` is `provider/model`; None
    keeps the conversation's. `system` replaces the conversation's system prompt, `tools` which
    servers and tools are on in it. `parent` starts a branch after that item, or from the very
    beginning where it is the conversation's own id: so a message is edited, by one that has the
    same parent. A message that arrives during a turn waits for its end. `before` is what comes
    ahead of it, as the prompt of a server may bring: written down as messages of their own.
    `sources` are the servers whose resources and prompts stand in it.
    """

    message_id: str
    parts: tuple[Part, ...]
    before: tuple[Spoken, ...] = ()
    sources: tuple[str, ...] = ()
    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] | None = None
    parent: str | None = None
    options: TurnOptions = TurnOptions()


class RetryTurn(Command, frozen=True, kw_only=True, tag="turn.retry"):
    """Ask the model again, as the active branch stands, without writing the message again.

    For a turn that failed before its answer, and after a summary. Refused where the newest message
    is an answer. `model` as in `message.send`.
    """

    model: str | None = None
    options: TurnOptions = TurnOptions()


class RegenerateReply(Command, frozen=True, kw_only=True, tag="turn.regenerate"):
    """Have a message of the user answered anew, as another branch. What was there stays.

    `item_id` is that message, or anything that came of it; None means the newest one of the active
    branch. `model` as in `message.send`.
    """

    item_id: str | None = None
    model: str | None = None
    options: TurnOptions = TurnOptions()


class SummariseConversation(Command, frozen=True, kw_only=True, tag="conversation.summarise"):
    """Have a model summarise the older messages of the active branch, which it is sent from then on
    in their place. The newest stay as they are.

    `model` is `provider/model`; None takes the conversation's, which stays what it is. The end is
    told by `note.added` with an item that has `covers`, or by `command.failed`.
    """

    model: str | None = None


class Interrupt(Command, frozen=True, kw_only=True, tag="turn.interrupt"):
    """End the running turn now. What was received is kept; every open call gets a result.

    Messages that wait for the turn's end are given back: `command.failed` names each.
    """

    reason: str = "Interrupted by the user."


class AnswerPermission(Command, frozen=True, kw_only=True, tag="permission.answer"):
    """Answer the question `ask_id`. The first answer counts.

    `arguments` is JSON text to be run in place of the model's, checked against the tool's schema
    first. `rule` says which rule "allow_always" writes: one that the question offers, perhaps with
    an end date; None takes the first one.
    """

    ask_id: str
    choice: Choice
    reason: str = ""
    arguments: str = ""
    rule: PermissionRule | None = None


class AnswerQuestion(Command, frozen=True, kw_only=True, tag="question.answer"):
    """Answer a server's question. The first answer counts. Raised to `command.failed` where the
    values do not fit the form; the question stays open then.
    """

    question_id: str
    answered: Answered


class CancelCall(Command, frozen=True, kw_only=True, tag="call.cancel"):
    """End one running call of the turn, and let the turn go on. Its server is told."""

    call_id: str


class RetryCall(Command, frozen=True, kw_only=True, tag="call.retry"):
    """Run a call again that ended in the result `result_id`, and go on from there.

    For one that is `retriable`. It becomes another branch, on which the results of the calls beside
    it stay; what was there stays too. A call that is to be asked about is asked about again.
    """

    result_id: str


class OpenConversation(Command, frozen=True, kw_only=True, tag="conversation.open"):
    """Load a conversation, close what a crash left open, and ask open questions again."""


class ForkConversation(Command, frozen=True, kw_only=True, tag="conversation.fork"):
    """Begin this conversation as a copy of the active branch of `source`, up to `item_id`."""

    source: str
    item_id: str | None = None


class ChangeMeta(Command, frozen=True, kw_only=True, tag="conversation.change"):
    """Change facts about the conversation; None leaves a fact as it is."""

    title: str | None = None
    tags: tuple[str, ...] | None = None
    folder: str | None = None
    archived: bool | None = None
    pinned: bool | None = None
    deleted: bool | None = None
    system: str | None = None
    model: str | None = None
    tools: tuple[str, ...] | None = None


class TitleConversation(Command, frozen=True, kw_only=True, tag="conversation.title"):
    """Have the conversation's model make a title from how it begins, in the background.

    It takes the place of any title, unless that changes meanwhile. The end is told by
    `meta.changed`, or by `command.failed`.
    """


class EraseConversation(Command, frozen=True, kw_only=True, tag="conversation.erase"):
    """Remove the conversation, or only the content of the item `item_id`, for good.

    Refused while an answer is being written, here or in another process. The end is told by
    `conversation.erased`, or by `command.failed`.
    """

    item_id: str | None = None


class SaveDraft(Command, frozen=True, kw_only=True, tag="draft.save"):
    """Keep what is typed and not sent yet; `conversation` may be `NEW_DRAFT` for none yet.

    Replaces the conversation's draft; without `parts` there is none any more. `parent` as in
    `message.send`. The end is told by `draft.changed`, or by `command.failed`.
    """

    parts: tuple[Part, ...] = ()
    parent: str | None = None


class SelectBranch(Command, frozen=True, kw_only=True, tag="branch.select"):
    """Make the branch that ends in `item_id` the active one."""

    item_id: str


AnyCommand = (
    SendMessage
    | RetryTurn
    | RegenerateReply
    | SummariseConversation
    | Interrupt
    | AnswerPermission
    | AnswerQuestion
    | CancelCall
    | RetryCall
    | OpenConversation
    | ForkConversation
    | ChangeMeta
    | TitleConversation
    | EraseConversation
    | SaveDraft
    | SelectBranch
)
