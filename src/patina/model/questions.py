"""What a server asks of a person while it works, and what it is answered.

A server may ask for the values of a form, for a visit to a web page, or that a model of the
user's answers a prompt of its own (MCP 2025-11-25 and 2026-07-28: elicitation, sampling). Nothing
of it happens without a person, or a rule that a person wrote.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from patina.model.parts import Spoken
from patina.model.usage import Usage

VISIT_SECONDS: Final = 600.0  # that a call waits for the end of a visit to a page

QuestionKind = Literal["form", "url", "sampling"]
Action = Literal["accept", "decline", "cancel"]
TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled"]


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt that a server wants a model to answer. A person may change any of it.

    `model` is the `provider/model` that is proposed, from the server's `hints` and `priorities`
    ("cost", "speed", "intelligence", each from 0 to 1). `tools` are the server's own tools that the
    model may call, in MCP's words (`name`, `description`, `inputSchema`); its calls go back to the
    server, which runs them. Where a person is shown it, `max_tokens` is already under the bound of
    the server's settings.
    """

    messages: tuple[Spoken, ...]
    system: str = ""
    model: str = ""
    hints: tuple[str, ...] = ()
    max_tokens: int = 1024
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    priorities: dict[str, float] = {}


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server's question. `text` is its words.

    `form` is the JSON Schema of the values it wants (`model.forms` reads it); `url` and `host` say
    where a person is to go; `sampling` is the prompt.
    """

    kind: QuestionKind
    text: str
    form: dict[str, Any] = {}
    url: str = ""
    host: str = ""
    sampling: Sampling | None = None


class Answered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's answer. `content` holds the values of a form by name, or of a sampling what was
    changed: `system`, `model`, `max_tokens` and `messages`, which has the new text of a message by
    its number in the prompt, the first being "0".
    """

    action: Action
    content: dict[str, Any] = {}


class Sampled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model answered to a server's prompt. `stop_reason` is in MCP's words."""

    model: str
    said: Spoken
    stop_reason: str = "endTurn"
    usage: Usage | None = None


class TaskState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a call is that its server carries out as a task.

    `task_id` is the server's handle, with which it is found again after a restart of Patina.
    """

    task_id: str
    status: TaskStatus
    text: str = ""
