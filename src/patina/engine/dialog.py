"""What a server tells and asks while one call of a turn runs: shown, recorded, answered."""

import math
from typing import TYPE_CHECKING, Final

import anyio
from msgspec.structs import replace

from patina.engine.interruption import Interruption
from patina.engine.notes import write_note
from patina.engine.questions import Posed, Questions
from patina.engine.recorder import Recorder
from patina.engine.refusing import Refusal, checked, too_many
from patina.engine.services import Services
from patina.engine.watchdog import Watchdog
from patina.model.chat import ToolInfo
from patina.model.events import ToolLogged, ToolProgress
from patina.model.faults import McpFault, PermissionFault, StoreFault
from patina.model.items import Answer, Question, Task
from patina.model.masking import masked
from patina.model.parts import well_formed
from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState

if TYPE_CHECKING:
    from patina.engine.sampling import Sampler

PROGRESS_SECONDS: Final = 0.1  # between two that are shown
LOGS_A_SECOND: Final = 20
OPEN_AT_ONCE: Final = 3  # questions of one call
ASKED_IN_ALL: Final = 20
TASK_WORDS: Final = 100  # changes of a task's words, beside those of its status
MOST_WORDS: Final = 1_000  # characters
LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)


class CallDialog:
    """Implements `ports.dialog.Dialog` for the call `call_id` of the message `message_id`.

    `run` shows the progress; `close` ends it all with the call, before its result is written. Its
    methods may be called from any task: a server's requests come in on its connection.
    """

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        interruption: Interruption,
        watchdog: Watchdog,
        *,
        message_id: str,
        call_id: str,
        tool: ToolInfo,
        task: TaskState | None = None,
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._interruption = interruption
        self._alone = interruption.call(call_id)  # what ends this call and no other
        self._watchdog = watchdog
        self._message_id = message_id
        self._call_id = call_id
        self._tool = tool
        self._task = task
        self._task_words = 0
        self._open: list[Posed] = []
        self._asked = 0
        self._warned = False
        self._logged: tuple[float, int] = (-math.inf, 0)  # a second's beginning, and how many in it
        self._progress: ToolProgress | None = None  # not shown yet
        self._shown_at = -math.inf
        self._progressed = anyio.Event()
        self._closed = False
        self._sampler: Sampler | None = None
        self._samplings: list[tuple[anyio.CancelScope, anyio.Event]] = []

    @property
    def present(self) -> bool:
        """As `Dialog.present`."""
        return not self._closed and self._services.present()

    def progress(self, done: float, total: float | None, text: str) -> None:
        """As `Dialog.progress`. Of those that come too fast only the newest is shown."""
        if self._closed or not math.isfinite(done):
            return
        self._watchdog.restart()
        self._progress = ToolProgress(
            call_id=self._call_id,
            tool=self._tool.name,
            done=done,
            total=total if total is not None and math.isfinite(total) else None,
            text=well_formed(text[:MOST_WORDS]),
        )
        if self._shown_at + PROGRESS_SECONDS <= self._services.clock.monotonic():
            self._show_progress()
        else:
            self._progressed.set()

    async def run(self) -> None:
        """Show the newest progress that came too fast, a moment later, until cancelled."""
        while True:
            await self._progressed.wait()
            self._progressed = anyio.Event()
            await self._services.clock.sleep(PROGRESS_SECONDS)
            self._show_progress()

    def _show_progress(self) -> None:
        if self._progress is not None:
            self._recorder.tell(self._progress)
            self._progress = None
            self._shown_at = self._services.clock.monotonic()

    def log(self, level: str, text: str) -> None:
        """As `Dialog.log`."""
        now = self._services.clock.monotonic()
        began, count = self._logged
        if now - began >= 1:
            began, count = now, 0
        self._logged = began, count + 1
        if self._closed or count >= LOGS_A_SECOND:
            return
        self._recorder.tell(
            ToolLogged(
                call_id=self._call_id,
                tool=self._tool.name,
                level=level if level in LEVELS else "info",
                text=well_formed(text[: 4 * MOST_WORDS]),
            )
        )

    async def ask(self, asked: Asked) -> Answered:
        """As `Dialog.ask`. Once the call has ended, the answer is "cancel"."""
        if self._closed:
            return Answered(action="cancel")
        self._asked += 1
        name = self._tool.display_name
        if self._asked > ASKED_IN_ALL or len(self._open) >= OPEN_AT_ONCE:
            if not self._warned:
                self._warned = True
                await self._refuse(too_many(name))
            return Answered(action="decline")
        shown = checked(masked(asked, self._services.mask), name)
        if isinstance(shown, Refusal):
            await self._refuse(shown)
            return Answered(action="decline")
        return await self._pose(shown)

    async def _refuse(self, refusal: Refusal) -> None:
        """Record that a question was declined which nobody was shown."""
        try:
            await self._write_answer("", Answered(action="decline"), refusal.rule)
        except StoreFault:
            return  # the call's result meets the same disk, and its fault is told
        await write_note(self._recorder, "warning", refusal.note)

    async def _pose(self, asked: Asked) -> Answered:
        question = Question(
            **self._recorder.keys(),
            message=self._message_id,
            call_id=self._call_id,
            server=self._tool.server,
            display_name=self._tool.display_name,
            asked=asked,
        )
        posed = self._questions.pose(question)
        self._open.append(posed)
        with self._watchdog.paused():
            try:
                await self._recorder.write(question)
                await posed.answered.wait()
            except StoreFault:
                self._forget(posed)
            finally:
                await self._settle(posed, "withdrawn")  # by the server, where nobody answered
        answered = posed.answer or Answered(action="cancel")
        if asked.kind == "url" and answered.action == "accept":
            self._watchdog.visit()
        return answered

    async def _settle(self, posed: Posed, rule: str) -> None:
        """Record the answer to an open question; `rule` where no person gave one. Once only.

        Where the call goes on without Patina, no answer is given for a person who gave none.
        """
        if posed not in self._open:
            return
        self._forget(posed)
        if posed.answer is None and self.is_left:
            return
        if posed.answer is not None:
            rule = "user"
        else:
            posed.answer = Answered(action="cancel")
        try:
            await self._write_answer(posed.question.id, posed.answer, rule)
        except StoreFault:
            return  # as in `_refuse`
        finally:
            posed.answered.set()

    def _forget(self, posed: Posed) -> None:
        self._open.remove(posed)
        self._questions.withdraw(posed)

    async def _write_answer(self, question: str, answered: Answered, rule: str) -> None:
        answer = Answer(
            **self._recorder.keys(),
            message=self._message_id,
            call_id=self._call_id,
            question=question,
            answered=answered,
            rule=rule,
        )
        await self._recorder.write(answer)

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        """As `Dialog.sample`. The time that the model takes does not count either."""
        if self._closed:
            raise PermissionFault(f"The call for which {server} asks a model has ended.")
        if self._sampler is None:
            from patina.engine.sampling import Sampler

            self._sampler = Sampler(self._services, self._recorder)
        ended = anyio.Event()
        with self._watchdog.paused(), anyio.CancelScope() as scope:
            running = scope, ended
            self._samplings.append(running)
            try:
                return await self._sampler.sample(server, prompt, self.ask)
            finally:
                self._samplings.remove(running)
                ended.set()
        if self.is_left:
            await anyio.sleep_forever()  # no word of ours is to end the task at its server
        raise PermissionFault(f"The call for which {server} asked a model has ended.")

    async def task(self, state: TaskState) -> None:
        """As `Dialog.task`. Raises `StoreFault`, and `McpFault` for a handle that is none."""
        if self._closed:
            return
        if not 0 < len(state.task_id) <= MOST_WORDS or well_formed(state.task_id) != state.task_id:
            raise McpFault(f"Server {self._tool.server} gave a task a name that cannot be kept.")
        state = replace(state, text=well_formed(state.text[:MOST_WORDS]))
        self._watchdog.follow(on=state.status in ("working", "input_required"))
        if state == self._task:
            return
        if self._task is not None and replace(state, text=self._task.text) == self._task:
            self._task_words += 1
            if self._task_words > TASK_WORDS:
                return
        self._task = state
        await self._recorder.write(
            Task(
                **self._recorder.keys(),
                message=self._message_id,
                call_id=self._call_id,
                server=self._tool.server,
                tool=self._tool.tool,
                state=state,
            )
        )

    def keeps_task(self) -> bool:
        """As `Dialog.keeps_task`: unless a person ended the call or the turn, or time is over."""
        ended = self._interruption.requested and not self._interruption.leaving
        return not (ended or self._alone.requested or self._watchdog.fired)

    @property
    def is_left(self) -> bool:
        """Whether the call goes on at its server, as Patina ends."""
        going_on = self._task is not None and self._task.status != "cancelled"
        return going_on and self._interruption.leaving and self.keeps_task()

    async def close(self) -> None:
        """Show what was not shown yet and close what is open. What comes later is not heard."""
        self._show_progress()
        self._closed = True
        for posed in list(self._open):
            await self._settle(posed, "interrupted")
        for scope, ended in list(self._samplings):
            scope.cancel()
            await ended.wait()  # what it cost is booked and noted before the result
