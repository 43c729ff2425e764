"""The table of commands, and which of them a command line means. Imports nothing heavy."""

import os
import sys

# name: (module, attribute, what it does, group in the help)
COMMANDS = {
    "ask": ("patina.cli.ask", "ask", "Ask one question; the answer streams to stdout.", "Chat"),
    "chat": ("patina.cli.chat", "chat", "Chat in the terminal.", "Chat"),
    "sessions": ("patina.cli.sessions", "sessions", "Find and change conversations.", "Chat"),
    "models": ("patina.cli.models", "models", "List the models you can use.", "Models and tools"),
    "providers": (
        "patina.cli.providers",
        "providers",
        "Add, edit and test model providers.",
        "Models and tools",
    ),
    "mcp": ("patina.cli.mcp", "mcp", "Add, inspect and call MCP servers.", "Models and tools"),
    "permissions": (
        "patina.cli.permissions",
        "permissions",
        "Say what tools may do unasked.",
        "Models and tools",
    ),
    "usage": ("patina.cli.usage", "usage", "Show what was spent, and on what.", "Money"),
    "limits": ("patina.cli.limits", "limits", "Say how much may be spent.", "Money"),
    "config": ("patina.cli.config", "config", "Show and change settings.", "Setup"),
    "keys": ("patina.cli.keys", "keys", "Keep API keys and other secrets.", "Setup"),
    "doctor": ("patina.cli.doctor", "doctor", "Say what works and what is missing.", "Setup"),
    "reindex": (
        "patina.cli.reindex",
        "reindex",
        "Build the index of all conversations anew.",
        "Setup",
    ),
    "verify": ("patina.cli.verify", "verify", "Check everything that is kept.", "Setup"),
    "backup": ("patina.cli.backup", "backup", "Pack all conversations into one file.", "Setup"),
    "restore": ("patina.cli.backup", "restore", "Bring a backup back, or try it.", "Setup"),
    "smoke": ("patina.cli.smoke", "smoke", "Try Patina against stand-ins, offline.", "Setup"),
    "completion": ("patina.cli.completion", "completion", "Print shell completion.", "Setup"),
}

# Accepted by every command: (flag, value or "", what it does)
GLOBAL_OPTIONS = (
    ("--offline", "", "Use only what needs no network."),
    ("--debug-mcp", "", "Log all MCP traffic."),
    ("--log-level", "LEVEL", "debug, info, warning or error."),
    ("--env-file", "FILE", "Read variables from FILE too."),
)

_HELP = """\
Usage: patina [PROMPT...]
       patina COMMAND [OPTIONS] [ARGS...]

Chat with AI models that use your tools. A first word that is no command is a
prompt; so is text piped in.

Examples:
  patina "Which TLS version should I require?"
  git diff | patina ask "Write the commit message." -m openai/gpt-5.2
  patina mcp add files -- npx -y @modelcontextprotocol/server-filesystem .
"""


def top_help() -> str:
    """Return what `patina --help` prints."""
    lines = [_HELP]
    width = max(len(name) for name in COMMANDS)
    for group in dict.fromkeys(row[3] for row in COMMANDS.values()):
        lines.append(f"{group}:")
        lines += [
            f"  {name:{width}}  {row[2]}" for name, row in COMMANDS.items() if row[3] == group
        ]
        lines.append("")
    lines.append("Options of every command:")
    options = [(f"{flag} {value}".rstrip(), text) for flag, value, text in GLOBAL_OPTIONS]
    options += [("-h, --help", "Explain a command, with examples."), ("--version", "Print it.")]
    lines += [f"  {flag:17}  {text}" for flag, text in options]
    return "\n".join(lines) + "\n"


def route(arguments: list[str], *, interactive: bool) -> list[str]:
    """Return the arguments with the command's name first.

    Options of every command may stand before it. `interactive` says that a person sits at both
    ends; without words, that means a chat.
    """
    leading, rest = _split_leading(arguments)
    as_json = "--json" in leading
    leading = [option for option in leading if option != "--json"]
    if not rest and not as_json:
        return ["chat", "--plain", *leading] if interactive else ["ask", *leading]
    if rest and rest[0] in COMMANDS:
        routed = [rest[0], *leading, *rest[1:]]
    else:
        routed = ["ask", *leading, *rest]
    if as_json:
        # Of a command with verbs, the verb has the option: it stands last, before any "--".
        end = routed.index("--") if "--" in routed else len(routed)
        routed.insert(end, "--json")
    return routed


def _split_leading(arguments: list[str]) -> tuple[list[str], list[str]]:
    takes_value = {flag: bool(value) for flag, value, _ in GLOBAL_OPTIONS} | {"--json": False}
    index = 0
    while index < len(arguments):
        flag, equals, _ = arguments[index].partition("=")
        if flag not in takes_value:
            break
        index += 2 if takes_value[flag] and not equals else 1
    return arguments[:index], arguments[index:]


def run(arguments: list[str]) -> int:
    """Run a command line, given without the program's name, and return the exit code."""
    open_closed_streams()
    _, rest = _split_leading(arguments)
    if rest in (["--help"], ["-h"]):
        return say(top_help())
    import gc

    # Nothing is garbage while modules load; `cli.running` turns collecting on for an app.
    gc.disable()
    from patina.cli.frame import run_command

    try:
        return run_command(route(arguments, interactive=_is_interactive()))
    finally:
        # Else the interpreter's end sweeps all that is left, which took a sixth of an `ask`.
        gc.freeze()


def say(text: str) -> int:
    """Print `text` and return the exit code: 1 where nobody takes it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # The interpreter tries again at its end, and must not complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def open_closed_streams() -> None:
    """A program that is started with an output closed has None there; nobody is to be told."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def _is_interactive() -> bool:
    # A program started without standard streams has None in their place.
    streams = (sys.stdin, sys.stdout)
    return all(stream is not None and stream.isatty() for stream in streams)
