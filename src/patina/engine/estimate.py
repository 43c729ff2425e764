"""How many tokens a request has, as far as that can be known before it is sent.

No tokeniser: each model has its own, and none is shipped. The rule is linear, so that a history of
thousands of messages is measured in one go: a quarter token per character, a quarter more for each
sign that is neither letter nor space (code, JSON, numbers), and 0.4 for each byte that UTF-8 needs
beyond one per character, which makes about one token of a Chinese, Japanese or Korean character.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from patina.model.chat import ChatMessage, ModelInfo, ToolInfo, ToolSpec
from patina.model.codec import encode_json
from patina.model.parts import File, Image, Part, ResultPart, Text, Thinking, ToolCall

MESSAGE_TOKENS: Final = 4  # what a message costs beside its words
IMAGE_TOKENS: Final = 1_600  # providers scale pictures down to about this
FILE_TOKENS: Final = 6_000  # a PDF of three pages or so; its pages are not counted
WORDS_TOKENS: Final = 30  # of the sentence in place of what a model cannot see
# A reported figure is trusted within these bounds: tools and prompts may have changed since.
LOWEST: Final = 0.6
HIGHEST: Final = 2.5
_LETTERS: Final = bytes(
    code for code in range(256) if code >= 0x80 or chr(code).isalpha() or chr(code).isspace()
)


class Size(Struct, frozen=True):
    """The size of messages: `words` in tokens, and how many pictures and files there are."""

    words: float = 0.0
    images: int = 0
    files: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.words + other.words, self.images + other.images, self.files + other.files)

    def tokens(self, info: ModelInfo | None) -> float:
        """Return the tokens for a model of which `info` is known."""
        blind = info is not None and info.images is False
        without_files = info is not None and info.files is False
        return (
            self.words
            + self.images * (WORDS_TOKENS if blind else IMAGE_TOKENS)
            + self.files * (WORDS_TOKENS if without_files else FILE_TOKENS)
        )


def text_tokens(*texts: str) -> float:
    """Return about how many tokens `texts` have together."""
    text = "".join(texts)
    data = text.encode(errors="replace")
    signs = len(data.translate(None, _LETTERS))
    return (len(text) + signs) / 4 + 0.4 * (len(data) - len(text))


def size_of(messages: Sequence[ChatMessage], blobs: Mapping[str, bytes] | None = None) -> Size:
    """Return the size of `messages`. `blobs` has the bytes of files, of which text is counted."""
    texts: list[str] = []
    seen: list[Image | File] = []
    for message in messages:
        if len(message.parts) == 1 and type(message.parts[0]) is Text:  # nearly all
            texts.append(message.parts[0].text)
            continue
        _gather(message.parts, texts, seen)
        for answer in message.answers:
            _gather(answer.parts, texts, seen)
    size = Size(text_tokens(*texts) + MESSAGE_TOKENS * len(messages))
    for part in seen:
        size += _seen(part, blobs or {})
    return size


def fixed_size(system: str, tools: Iterable[ToolSpec]) -> Size:
    """Return the size of what goes along with every history."""
    offered = [(tool.name, tool.description, tool.schema) for tool in tools]
    return Size(text_tokens(system, encode_json(offered).decode() if offered else ""))


def server_costs(tools: Iterable[ToolInfo]) -> dict[str, int]:
    """Return, by server, the tokens that the names, descriptions and schemas of `tools` cost each
    request that has them all.
    """
    costs: dict[str, float] = {}
    for tool in tools:
        offered = encode_json((tool.alias, tool.description, tool.schema)).decode()
        costs[tool.server] = costs.get(tool.server, 0.0) + text_tokens(offered)
    return {server: round(tokens) for server, tokens in costs.items()}


def _gather(
    parts: Sequence[Part] | Sequence[ResultPart], texts: list[str], seen: list[Image | File]
) -> None:
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            texts += (part.name, part.arguments)
        elif isinstance(part, Thinking):
            if part.signature or part.opaque:  # other reasoning does not go back
                texts.append(part.text)
        else:
            seen.append(part)


def _seen(part: Image | File, blobs: Mapping[str, bytes]) -> Size:
    if isinstance(part, Image):
        return Size(images=1)
    if part.media_type.startswith("text/") or part.media_type == "application/json":
        return Size(text_tokens(blobs.get(part.blob, b"").decode(errors="replace")))
    return Size(files=1)


def calibration(reported: int, estimated: float) -> float:
    """Return by what to multiply estimates, where a provider counted `reported` tokens."""
    return min(max(reported / estimated, LOWEST), HIGHEST) if estimated > 0 else 1.0
