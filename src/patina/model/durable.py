"""The durability table: which events tell of a journal item, and which are live only.

A durable event is published after its item was acknowledged by the journal, never before. A new
event type fails `tests/rules` until it stands in one of the two halves.
"""

from patina.model import events, items

DURABLE: dict[type[events.Event], type[items.Item]] = {
    events.ConversationCreated: items.Head,
    events.MessageAdded: items.Message,
    events.ReplyStarted: items.ReplyStart,
    events.PermissionAsked: items.Ask,
    events.PermissionDecided: items.Decision,
    events.QuestionAsked: items.Question,
    events.QuestionAnswered: items.Answer,
    events.TaskChanged: items.Task,
    events.ToolStarted: items.Call,
    events.ToolFinished: items.Result,
    events.NoteAdded: items.Note,
    events.MetaChanged: items.Meta,
    events.BranchSelected: items.Leaf,
    events.ItemHidden: items.Hide,
}

LIVE_ONLY: frozenset[type[events.Event]] = frozenset(
    {
        events.ConversationOpened,
        events.ConversationErased,
        events.DraftChanged,
        events.LibraryChanged,
        events.TurnStarted,
        events.TurnEnded,
        events.TextDelta,
        events.ThinkingDelta,
        events.ToolCallDelta,
        events.ReplyRetrying,
        events.ToolProgress,
        events.ToolLogged,
        events.ResourceChanged,
        events.ServerChanged,
        events.ServerNotice,
        events.SignInChanged,
        events.ProviderChanged,
        events.CostChanged,
        events.LimitWarned,
        events.LimitReached,
        events.SummaryProgress,
        events.CommandFailed,
        events.Resync,
        events.AskFinished,
    }
)

# A checkpoint is written but never told: it only repeats deltas that were shown already.
SILENT_ITEMS: frozenset[type[items.Item]] = frozenset({items.Checkpoint})
# Synced before `append` returns; a checkpoint may be lost with the last second of a partial answer.
UNSYNCED_ITEMS: frozenset[type[items.Item]] = frozenset({items.Checkpoint})


def is_durable(event: type[events.Event]) -> bool:
    """Whether `event` tells of an item in the journal. Unlisted types raise `KeyError`."""
    if event in DURABLE:
        return True
    if event in LIVE_ONLY:
        return False
    raise KeyError(event.__name__)
