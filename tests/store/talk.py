"""What the store's tests share: items of a made-up conversation, and a file system that hurries."""

from pathlib import Path

from patina.model.ids import id_month, new_id
from patina.model.items import Checkpoint, Head, Message, Meta
from patina.model.parts import Text
from patina.store.files import FileSystem


class Talk:
    """Makes items of one conversation, a second apart, each message the child of the last."""

    def __init__(self, device: str = "", conversation: str = "", start: int = 0) -> None:
        self.conversation = conversation or new_id()
        self.last: str | None = None
        self._device = device
        self._second = start

    def now(self) -> str:
        self._second += 1
        minutes, seconds = divmod(self._second, 60)
        hours, minutes = divmod(minutes, 60)
        return f"2026-11-21T{hours:02}:{minutes:02}:{seconds:02}.000Z"

    def head(self) -> Head:
        return Head(
            id=self.conversation,
            ts=self.now(),
            device=self._device,
            conversation=self.conversation,
            format=1,
            app="patina test",
        )

    def say(self, text: str, *, parent: str | None = None) -> Message:
        message = Message(
            id=new_id(),
            ts=self.now(),
            parent=parent or self.last,
            device=self._device,
            role="user",
            parts=(Text(text),),
        )
        self.last = message.id
        return message

    def title(self, title: str) -> Meta:
        return Meta(id=new_id(), ts=self.now(), device=self._device, title=title)

    def checkpoint(self, text: str) -> Checkpoint:
        return Checkpoint(id=new_id(), ts=self.now(), message=new_id(), text=text)

    def file(self, data: Path, device: str) -> Path:
        """Return where a device's transcript of this conversation is, by the documented rule."""
        year, month = id_month(self.conversation)
        folder = data / "transcripts" / f"{year:04}" / f"{month:02}"
        return folder / f"{self.conversation}.{device}.jsonl"


def files_below(folder: Path) -> list[Path]:
    """Return every file below `folder`; none where there is no such folder."""
    return sorted(each for each in folder.rglob("*") if each.is_file())


class Hurried(FileSystem):
    """Does not wait for the disk: for tests that append thousands of times."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass
