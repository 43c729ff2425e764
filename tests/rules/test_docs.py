"""The documents say what is true: every command, event, setting, word and link."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from patina.model import commands, durable, events, faults, items, options, parts, settings, usage
from patina.model.codec import decode_command, decode_event, encode_json

EVERY_COMMAND = {"seq", "ts", "session_id"}
EVERY_ITEM = {"id", "p", "ts", "by", "v"}

# The words of the design that code, documents and user interface share.
WORDS = {
    *("conversation", "turn", "item", "part", "delta", "command", "event", "journal", "driver"),
    *("server", "connection", "ask", "grant", "rule", "hold", "settle", "session"),
}

# Free names in keys: what stands for them in the documents.
NAMES = {
    "providers": "NAME",
    "models": "MODEL",
    "price": "KIND",
    "mcp_servers": "NAME",
    "env": "VARIABLE",
    "source": "FIELD",
    "package": "FIELD",
    "headers": "HEADER",
    "per_model_limits": "MODEL",
    "per_provider_limits": "NAME",
    "args": "ARGUMENT",
}


@pytest.fixture(scope="session")
def docs(root: Path) -> Path:
    return root / "docs"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def fields(kind: type[msgspec.Struct]) -> set[str]:
    return set(kind.__struct_encode_fields__)


def sections(text: str) -> dict[str, str]:
    """What stands below each heading, up to the next one."""
    found = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {title.strip("`"): body for title, body in zip(found[1::2], found[2::2], strict=True)}


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables in `text` by their first cell, without quotes and links."""
    found = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *rest = [cell.strip() for cell in line.strip("|").split(" | ")]
            quoted = re.search(r"`([^`]+)`", first)
            found[quoted[1] if quoted else first] = rest
    return found


@pytest.mark.parametrize("kind", [*get_args(commands.AnyCommand), *get_args(events.AnyEvent)])
def test_each_command_and_event_with_each_field(docs: Path, kind: type[msgspec.Struct]) -> None:
    section = sections(read(docs / "events.md"))[tag(kind)]
    assert set(rows(section)) - {"field"} == fields(kind) - EVERY_COMMAND
    (example,) = re.findall(r"```json\n(.+)\n```", section)
    command = issubclass(kind, commands.Command)
    decoded = decode_command(example.encode()) if command else decode_event(example.encode())
    assert type(decoded) is kind
    assert encode_json(decoded).decode() == example


def test_no_command_or_event_that_does_not_exist(docs: Path) -> None:
    documented = {
        title for title in sections(read(docs / "events.md")) if re.search(r"\w\.\w", title)
    }
    kinds = (*get_args(commands.AnyCommand), *get_args(events.AnyEvent))
    assert documented <= {tag(kind) for kind in kinds}


def test_durability_of_each_event(docs: Path) -> None:
    table = rows(sections(read(docs / "events.md"))["Events"])
    for kind in get_args(events.AnyEvent):
        assert table[tag(kind)][0] == ("durable" if durable.is_durable(kind) else "live")


def test_shapes_with_each_field(docs: Path) -> None:
    found = sections(read(docs / "events.md"))
    kinds = rows(found["Items"])
    for item in get_args(items.AnyItem):
        assert set(re.findall(r"`(\w+)`", kinds[tag(item)][1])) == fields(item) - EVERY_ITEM
    kinds = rows(found["Parts"])
    for part in get_args(parts.Part):
        assert set(re.findall(r"`(\w+)`", kinds[tag(part)][0])) == fields(part)
    for title, kind in (
        ("Options", options.TurnOptions),
        ("Failure", faults.Failure),
        ("Usage and cost", usage.Usage),
    ):
        assert set(rows(found[title])) - {"field"} == fields(kind)
    assert set(rows(found["Stop reasons"])) - {"reason"} == set(get_args(items.StopReason))


def keys(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting below `kind` with its default as the documents write it."""
    for field in msgspec.structs.fields(kind):
        key = prefix + field.encode_name
        shape = msgspec.inspect.type_info(field.type)
        default = default_of(field)
        if isinstance(shape, msgspec.inspect.DictType):
            key, shape, default = f"{key}.{NAMES[field.encode_name]}", shape.value_type, "none"
        elif isinstance(shape, msgspec.inspect.VarTupleType) and isinstance(
            shape.item_type, msgspec.inspect.StructType
        ):
            key, shape = f"{key}[]", shape.item_type
        if isinstance(shape, msgspec.inspect.StructType):
            yield from keys(shape.cls, f"{key}.")
        else:
            yield key, default


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default in (None, msgspec.NODEFAULT):
        return "none"
    return f"`{encode_json(field.default).decode()}`"


def test_each_setting_with_its_default(docs: Path) -> None:
    found = sections(read(docs / "configuration.md"))
    settings_of = found["Settings"] + "".join(
        body for title, body in found.items() if "| key | default |" in body and title != "Settings"
    )
    documented = {key: cells[0] for key, cells in rows(settings_of).items() if key != "key"}
    assert documented == dict(keys(settings.Settings))


def test_examples_of_the_configuration_are_right(docs: Path) -> None:
    for example in re.findall(r"```toml\n(.+?)```", read(docs / "configuration.md"), re.DOTALL):
        msgspec.convert(tomllib.loads(example), settings.Settings)


def test_each_environment_variable(root: Path, docs: Path) -> None:
    """Names in capitals that the rooms which may read the environment write out."""
    read_names = {
        node.value
        for room in ("config", "secrets", "providers")
        for path in (root / "src/patina" / room).rglob("*.py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", node.value)
    }
    table = sections(read(docs / "configuration.md"))["Environment variables"]
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", table))
    assert "PATINA_HOME" in read_names
    assert not read_names - documented


def test_each_word_of_the_vocabulary(docs: Path) -> None:
    explained = rows(read(docs / "vocabulary.md"))
    assert not WORDS - explained.keys()


def test_each_room_of_the_architecture(root: Path, docs: Path) -> None:
    rooms = {
        path.name for path in (root / "src/patina").iterdir() if (path / "__init__.py").exists()
    }
    explained = {name.strip("/") for name in rows(read(docs / "architecture.md"))}
    assert rooms <= explained


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_between_documents(root: Path, files: tuple[Path, ...]) -> None:
    broken = []
    for path in (path for path in files if path.suffix == ".md"):
        prose = re.sub(r"```.*?```", "", read(path), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose):
            name, _, anchor = target.partition("#")
            aim = (path.parent / name).resolve() if name else path
            headings = re.findall(r"^#+ (.+)$", read(aim), re.MULTILINE) if aim.is_file() else []
            if not aim.exists() or (anchor and anchor not in map(slug, headings)):
                broken.append(f"{path.relative_to(root)}: {target}")
    assert not broken, "\n".join(broken)
