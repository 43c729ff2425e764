"""What a server may tell and ask while it carries out a call."""

from typing import Protocol

from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState


class Dialog(Protocol):
    """One call's way back to the conversation and the person that it is made for.

    The time that a person takes does not count against the call, nor for a while that of the visit
    to a page that the person said yes to. `progress` and `log` return at
    once and may be called any number of times; what is too much is dropped.
    """

    @property
    def present(self) -> bool:
        """Whether somebody may answer what is asked. Where nobody is, nothing is begun for them."""

    def progress(self, done: float, total: float | None, text: str) -> None:
        """Show how far the call is, and give it time anew."""

    def log(self, level: str, text: str) -> None:
        """Show what the server says for people."""

    async def ask(self, asked: Asked) -> Answered:
        """Put a form or a page to the person and return the answer; "cancel" where there is
        nobody. A form that asks for secrets is declined without being shown.
        """

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        """Have a model answer, if the person and the limits let it.

        Raises `PermissionFault` where the answer is no, `LimitFault` where a limit forbids it,
        `ProviderFault` where the model fails.
        """

    async def task(self, state: TaskState) -> None:
        """Keep how far the call's task is. Once this returns it survives a crash."""

    def keeps_task(self) -> bool:
        """Whether the server is to go on with the task though the wait for it is cancelled.

        Patina ends then, and finds the task again by `Tools.resume`. Else it is cancelled, too.
        """
