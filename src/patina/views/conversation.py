"""A conversation as rows: what a person reads, in order, in every front end."""

from typing import Literal

from msgspec import Struct

from patina.model.items import Answer, Message, Note, Question, Result, Task, TreeItem
from patina.model.parts import File, Image, Part, Text, text_of
from patina.model.questions import Sampling
from patina.model.tree import Tree
from patina.model.usage import Cost
from patina.views.tool_card import finished_text

RowKind = Literal["user", "assistant", "tool", "note", "question", "task"]


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row. `text` is the words; `name` the model, tool or server; `state` a status or level.

    A question's state is what it was answered, or "open"; one whose call ended without an answer
    is at "cancel". `cost` is that of an answer, None where it is not known.

    Text comes from models, tools and people: a front end passes it through its sanitiser.
    """

    item_id: str
    kind: RowKind
    ts: str
    text: str
    name: str = ""
    state: str = ""
    partial: bool = False
    cost: Cost | None = None


def rows(tree: Tree, leaf: str | None = None) -> list[Row]:
    """Return the rows of the branch that ends in `leaf` (default: the active one).

    An answer that a crash cut off is the last row, marked partial, though nothing was written.
    """
    path = tree.path(leaf)
    talks = _Talks(path)
    shown = [row for item in path if (row := _row(item, talks)) is not None]
    partial = tree.partial() if leaf is None else None
    if partial is not None and partial.parts:
        shown.append(_message(partial))
    return shown


class _Talks:
    """What is known further on of the questions and tasks of a branch."""

    def __init__(self, path: list[TreeItem]) -> None:
        self.answers = {item.question: item for item in path if isinstance(item, Answer)}
        self.ended = {(item.message, item.call_id) for item in path if isinstance(item, Result)}
        tasks = [item for item in path if isinstance(item, Task)]
        self.newest = {(item.message, item.call_id): item for item in tasks}


def _row(item: TreeItem, talks: _Talks) -> Row | None:
    if isinstance(item, Message):
        return _message(item)
    if isinstance(item, Result):
        return _result(item)
    if isinstance(item, Question):
        return _question(item, talks)
    if isinstance(item, Task):
        return _task(item, talks)
    if isinstance(item, Note):
        hint = f" {item.hint}" if item.hint else ""
        return Row(
            item_id=item.id,
            kind="note",
            ts=item.ts,
            text=f"{item.text}{hint}",
            name="" if item.covers is None else "summary",
            state=item.level,
        )
    return None


def _result(item: Result) -> Row:
    name = f"{item.server}.{item.tool}" if item.server else item.tool
    return Row(
        item_id=item.id,
        kind="tool",
        ts=item.ts,
        text=text_of(item.parts) or finished_text(name, item.status),
        name=name,
        state=item.status,
    )


def _question(item: Question, talks: _Talks) -> Row:
    """Return what was asked and, below it, where to go, the values that were given, or the prompt
    for a model as it was allowed.
    """
    answer = talks.answers.get(item.id)
    unanswered = "cancel" if (item.message, item.call_id) in talks.ended else "open"
    lines = [item.asked.text, *([item.asked.url] if item.asked.url else [])]
    if answer is not None and item.asked.kind == "form":
        lines += [f"{name}: {_value(value)}" for name, value in answer.answered.content.items()]
    if item.asked.sampling is not None:
        lines += _prompt(item.asked.sampling, answer)
    return Row(
        item_id=item.id,
        kind="question",
        ts=item.ts,
        text="\n".join(lines),
        name=item.display_name or item.server,
        state=unanswered if answer is None else answer.answered.action,
    )


def _prompt(sampling: Sampling, answer: Answer | None) -> list[str]:
    """Return what a model is asked, with the words that a person put in place of the server's."""
    changed = {} if answer is None else answer.answered.content.get("messages")
    changed = changed if isinstance(changed, dict) else {}
    return [
        f"{spoken.role}: {changed.get(str(number), text_of(spoken.parts))}"
        for number, spoken in enumerate(sampling.messages)
    ]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _task(item: Task, talks: _Talks) -> Row | None:
    """Return the newest state of a call's task, as one row."""
    if talks.newest[item.message, item.call_id] is not item:
        return None
    return Row(
        item_id=item.id,
        kind="task",
        ts=item.ts,
        text=item.state.text or item.state.status,
        name=f"{item.server}.{item.tool}",
        state=item.state.status,
    )


def _message(item: Message) -> Row:
    words = "".join(_words(part) for part in item.parts)
    name = f"{item.provider}/{item.model}" if item.model else ""
    return Row(
        item_id=item.id,
        kind=item.role,
        ts=item.ts,
        text=words,
        name=name,
        state=item.stop_reason or "",
        partial=item.partial,
        cost=item.cost,
    )


def _words(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, (Image, File)):
        return f"[{part.name or part.media_type}]\n"
    return ""
