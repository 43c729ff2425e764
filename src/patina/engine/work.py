"""What needs a conversation's turn: to answer, to answer anew, to go on, to summarise.

One at a time, with the conversation loaded and its turn held against other processes.
"""

from collections.abc import Callable

from patina.engine.bounds import Counts
from patina.engine.excerpts import Excerpts
from patina.engine.interruption import Interruption
from patina.engine.large import MESSAGE_BYTES, put_away
from patina.engine.questions import Questions
from patina.engine.recorder import LEAF, Recorder
from patina.engine.recovery import CRASHED, close_calls, close_partial
from patina.engine.retrying import retried
from patina.engine.services import Services
from patina.engine.summary import Summariser
from patina.engine.tool_step import ToolStep
from patina.engine.turn import Turn, TurnEnd
from patina.model import commands
from patina.model.chat import ModelRef
from patina.model.codec import FORMAT
from patina.model.faults import UsageFault
from patina.model.ids import is_id
from patina.model.items import Head, Leaf, Message, Meta
from patina.model.money import Purpose
from patina.model.options import TurnOptions
from patina.model.parts import File, Image, Text
from patina.model.tree import Tree, tool_calls

Asked = (
    commands.SendMessage
    | commands.RetryTurn
    | commands.RegenerateReply
    | commands.RetryCall
    | commands.SummariseConversation
)
AnyWork = Asked | commands.OpenConversation
_NO_CONVERSATION = "`patina sessions list` shows those there are."


class Worker:
    """Carries out such commands for one conversation.

    `begun` is called once the conversation stands as the turn or summary will find it.
    """

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        begun: Callable[[], None],
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._begun = begun
        self._granted: set[str] = set()
        self._excerpts = Excerpts(services.journal)
        self._counts = Counts()

    async def carry_out(self, command: AnyWork, interruption: Interruption) -> TurnEnd | None:
        """Return how the turn ended, None where there was none. Raises `Fault`s."""
        if isinstance(command, commands.SendMessage):
            return await self._answer(command, interruption)
        if isinstance(command, commands.RetryTurn):
            return await self._retry(command, interruption)
        if isinstance(command, commands.RegenerateReply):
            return await self._regenerate(command, interruption)
        if isinstance(command, commands.RetryCall):
            return await self._retry_call(command, interruption)
        if isinstance(command, commands.SummariseConversation):
            await self._summarise(command, interruption)
            return None
        return await self._resume(interruption)

    async def _answer(
        self, command: commands.SendMessage, interruption: Interruption
    ) -> TurnEnd | None:
        tree, own = self._recorder.tree, self._recorder.conversation
        _check_kept(self._recorder)
        if not is_id(command.message_id) or command.message_id == own:
            raise UsageFault(f"{command.message_id!r} cannot be the id of a message.")
        model = self._services.providers.resolve(command.model or tree.fact("model"))
        if command.message_id not in tree:
            if command.parent not in (None, own) and command.parent not in tree:
                raise UsageFault(f"There is no item {command.parent} in this conversation.")
            if tree.head is not None:
                await self._recover(interruption)
            await self._begin(command, model)
        elif tree.leaf != command.message_id:
            raise UsageFault(
                "This message was sent before.", hint="The conversation has what came of it."
            )
        return await self._run(command.message_id, model, command.options, interruption, "chat")

    async def _begin(self, command: commands.SendMessage, model: ModelRef) -> None:
        """Write the user's message, and before it the head and the facts that it changes."""
        tree, keys = self._recorder.tree, self._recorder.keys
        written: list[Head | Meta | Message] = []
        if tree.head is None:
            written.append(head_of(self._services, self._recorder))
        system = command.system if command.system != tree.facts.get("system") else None
        tools = command.tools
        if system is not None or tools is not None or _name(model) != tree.fact("model"):
            written.append(Meta(**keys(), system=system, model=_name(model), tools=tools))
        journal, mask = self._services.journal, self._services.mask
        parent = None if command.parent == self._recorder.conversation else command.parent or LEAF
        for spoken in command.before:
            # Calls and thinking of another's making are none of this conversation's.
            said = tuple(part for part in spoken.parts if isinstance(part, Text | Image | File))
            said = await put_away(said, journal, MESSAGE_BYTES, mask)
            written.append(Message(**keys(parent), role=spoken.role, parts=said))
            parent = written[-1].id
        parts = await put_away(command.parts, journal, MESSAGE_BYTES, mask)
        own = {**keys(parent), "id": command.message_id}
        written.append(Message(**own, role="user", parts=parts, sources=command.sources))
        await self._recorder.write(*written)

    async def _run(
        self,
        turn_id: str,
        model: ModelRef,
        options: TurnOptions,
        interruption: Interruption,
        purpose: Purpose,
    ) -> TurnEnd:
        self._begun()
        turn = Turn(
            self._services,
            self._recorder,
            self._questions,
            interruption,
            self._granted,
            self._excerpts,
            self._counts,
            turn_id=turn_id,
            model=model,
            options=options,
            purpose=purpose,
        )
        return await turn.run()

    async def _recover(self, interruption: Interruption) -> None:
        """Close what a crash left open; what a server went on with as a task is waited for."""
        await close_partial(self._recorder)
        opened = self._recorder.tree.open_calls()
        if opened is None:
            return
        self._begun()
        step = ToolStep(
            self._services, self._recorder, self._questions, interruption, self._granted
        )
        await step.finish(opened)
        if interruption.requested:
            raise UsageFault(f"Not done. {interruption.reason}", hint="Try again.")

    async def _retry(self, command: commands.RetryTurn, interruption: Interruption) -> TurnEnd:
        tree = existing(self._recorder)
        _check_kept(self._recorder)
        model = self._services.providers.resolve(command.model or tree.fact("model"))
        await self._recover(interruption)
        said = [item for item in tree.path() if isinstance(item, Message)]
        asked = [item.id for item in said if item.role == "user"]
        if not asked or (said[-1].role == "assistant" and not tool_calls(said[-1])):
            raise UsageFault(
                "There is nothing to try again: the newest message is an answer.",
                hint="Send a message to go on.",
            )
        await self._choose(model)
        return await self._run(asked[-1], model, command.options, interruption, "retry")

    async def _regenerate(
        self, command: commands.RegenerateReply, interruption: Interruption
    ) -> TurnEnd:
        tree = existing(self._recorder)
        _check_kept(self._recorder)
        model = self._services.providers.resolve(command.model or tree.fact("model"))
        if command.item_id is not None and command.item_id not in tree:
            raise UsageFault(f"There is no item {command.item_id} in this conversation.")
        asked = [item.id for item in tree.path(command.item_id) if _is_user(item)]
        if not asked:
            raise UsageFault("There is no message to answer anew.", hint="Send one.")
        await self._recover(interruption)
        await self._choose(model)
        if tree.leaf != asked[-1]:
            await self._recorder.write(Leaf(**self._recorder.keys(), item=asked[-1]))
        return await self._run(asked[-1], model, command.options, interruption, "retry")

    async def _retry_call(self, command: commands.RetryCall, interruption: Interruption) -> TurnEnd:
        tree = existing(self._recorder)
        _check_kept(self._recorder)
        model = self._services.providers.resolve(tree.fact("model"))
        again = retried(tree, command.result_id, self._recorder.keys)
        asked = [item.id for item in tree.path(again[0].parent) if _is_user(item)]
        if not asked:
            raise UsageFault("The message that this call came of is gone.")
        await self._recover(interruption)
        await self._recorder.write(*again)
        return await self._run(asked[-1], model, tree.options(asked[-1]), interruption, "tools")

    async def _choose(self, model: ModelRef) -> None:
        """Have the conversation go on with `model`."""
        if _name(model) != self._recorder.tree.fact("model"):
            await self._recorder.write(Meta(**self._recorder.keys(), model=_name(model)))

    async def _summarise(
        self, command: commands.SummariseConversation, interruption: Interruption
    ) -> None:
        tree = existing(self._recorder)
        model = self._services.providers.resolve(command.model or tree.fact("model"))
        await self._recover(interruption)
        self._begun()
        await Summariser(self._services, self._recorder, interruption, model).run()

    async def _resume(self, interruption: Interruption) -> TurnEnd | None:
        """Close what a crash left open; ask again what nobody answered, wait for what a server
        went on with, and then go on.
        """
        await close_partial(self._recorder)
        tree = self._recorder.tree
        opened = tree.open_calls()
        if opened is None:
            return None
        if not opened.waiting() and not opened.going_on():
            await close_calls(self._recorder, opened.message.id, opened.calls, CRASHED)
            return None
        asked = (item.id for item in reversed(tree.path()) if _is_user(item))
        turn_id = next(asked, opened.message.id)
        model = self._services.providers.resolve(tree.fact("model"))
        return await self._run(turn_id, model, tree.options(turn_id), interruption, "tools")


def existing(recorder: Recorder) -> Tree:
    """Return the loaded tree. Raises `UsageFault` where there is no conversation."""
    if recorder.tree.head is None:
        raise UsageFault(
            f"There is no conversation {recorder.conversation}.", hint=_NO_CONVERSATION
        )
    return recorder.tree


def _check_kept(recorder: Recorder) -> None:
    if recorder.tree.facts.get("deleted"):
        raise UsageFault(
            "This conversation is in the trash, so nothing is added to it.",
            hint=f"Bring it back first: patina sessions restore {recorder.conversation}",
        )


def head_of(services: Services, recorder: Recorder) -> Head:
    """Return the first item of a conversation."""
    own = {**recorder.keys(), "id": recorder.conversation, "conversation": recorder.conversation}
    return Head(**own, format=FORMAT, app=services.app)


def _name(model: ModelRef) -> str:
    return f"{model}:{model.effort}" if model.effort else str(model)


def _is_user(item: object) -> bool:
    return isinstance(item, Message) and item.role == "user"
