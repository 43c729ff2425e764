"""Why a local server does not run, by what it said and how it ended."""

import re
from typing import Final

from patina.mcp.diagnosis import install_hint, log_hint, may_install, program
from patina.mcp.facts import Diagnosis, Facts
from patina.mcp.symptoms import Symptom, symptom
from patina.mcp.text import shortened

_EXIT: Final = re.compile(r"\b(exited with code (\d+)|was killed by \w+|closed its output)")
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # exit codes of shells and of `env`


def by_words(facts: Facts) -> Diagnosis | None:
    """Return what a server of this machine said before it could speak the protocol."""
    if not facts.opened:
        # A secret, key file or required value that is missing: the fault says which.
        return Diagnosis("configuration", facts.failure.message, facts.failure.hint)
    introduced = any(one.result for one in facts.exchanges)
    found = symptom("\n".join([*facts.lines, facts.rubbish]))
    if found is None or introduced:
        # What a server says that has come so far is talk, and no reason.
        return None
    if found.kind == "missing_variable":
        return _variable(facts, found)
    sentence, hint = _LOCAL[found.kind]
    about = f" ({shortened(found.about, 200)})" if found.about else ""
    if found.kind == "no_network" and may_install(facts.settings):
        sentence = "The network could not be reached while its package was fetched{about}."
    if found.kind == "no_interpreter" and found.about:
        hint = f"{install_hint(found.about)}, or start the server by another command."
    runner = program(facts.settings.command) or "the command"
    return Diagnosis(
        found.kind,
        sentence.format(about=about),
        hint.format(runner=runner, server=facts.server),
    )


_LOCAL: Final = {
    "docker": (
        "Docker is installed, but its daemon does not answer.",
        "Start Docker (Docker Desktop, or `systemctl start docker`), then try again.",
    ),
    "docker_denied": (
        "You may not use Docker on this machine.",
        "Add yourself to the group `docker`, or use rootless Docker.",
    ),
    "no_network": (
        "It could not reach the network{about}.",
        "Check the connection, the proxy and the firewall; `{runner}` reads HTTPS_PROXY.",
    ),
    "no_package": (
        "There is no such package, image or version{about}.",
        "Check its name and version in the arguments: `patina mcp edit {server}`.",
    ),
    "old_runtime": (
        "The runtime on this machine is not the version that it needs.",
        "Install a newer version of what runs it (Node.js, Python).",
    ),
    "no_script": (
        "The file that it is to run is not there{about}.",
        "Check the path in the arguments: `patina mcp edit {server}`.",
    ),
    "missing_module": (
        "It lacks a library that it needs{about}.",
        (
            "Install it into the environment that {runner} uses, or run the server by `npx` or "
            "`uvx`, which bring everything."
        ),
    ),
    "no_interpreter": (
        "A program that it is started by is not there{about}.",
        "Install it, or start the server by another command.",
    ),
    "port_taken": (
        "A port that it listens on is taken by another program.",
        "End the other program, or give the server another port.",
    ),
    "http_server": (
        "It is a server for HTTP, and listens on a port instead of its standard input{about}.",
        (
            "Start it by itself and add its URL (`patina mcp add NAME --url URL`), or give it the "
            "argument that chooses stdio."
        ),
    ),
    "arguments": (
        "It does not accept its arguments.",
        (
            "`patina mcp logs {server}` shows what it expects; `patina mcp edit {server}` changes "
            "them."
        ),
    ),
    "denied": (
        "It is not permitted to do what it wants to do.",
        "`patina mcp logs {server}` shows which file or folder it is about.",
    ),
}


def _variable(facts: Facts, found: Symptom) -> Diagnosis:
    name, server = found.about, facts.server
    sentence = f"It needs the variable {name}, which it is not given."
    if name in facts.settings.env:
        sentence = f"It does not accept the value of its variable {name}."
        hint = f"Set another: `patina mcp edit {server} --env {name}=…`."
    elif name in facts.withheld:
        sentence = f"It needs {name}, which is withheld from servers for it may be a secret."
        hint = f"Give it to this one: `patina mcp edit {server} --env {name}=env:{name}`."
    else:
        hint = (
            f"Keep it with `patina keys set {server}/{name}`, then "
            f"`patina mcp edit {server} --env {name}=secret:{server}/{name}`."
        )
    return Diagnosis("missing_variable", sentence, hint)


def by_end(facts: Facts) -> Diagnosis | None:
    """Return what the end, or the silence, of a local server tells."""
    server, words = facts.server, facts.words
    last = f" It said: {shortened(' | '.join(facts.lines[-3:]), 400)}" if facts.lines else ""
    if end := _EXIT.search(words):
        code = int(end[2]) if end[2] else None
        if code == _NOT_FOUND:
            hint = "Something that it runs is not installed, or not in its PATH."
            return Diagnosis("no_interpreter", f"It {end[1]}: a program is not there.{last}", hint)
        if code == _NOT_EXECUTABLE:
            hint = "Make the file executable."
            return Diagnosis("denied", f"It {end[1]}: a file cannot be run.{last}", hint)
        rubbish = f" It printed: {facts.rubbish}" if facts.rubbish and not last else ""
        hint = f"Check its arguments and variables. {log_hint(server)}"
        return Diagnosis("exited", f"It {end[1]} before it was ready.{last}{rubbish}", hint)
    if facts.rubbish:
        return Diagnosis(
            "rubbish",
            "What it prints on its standard output are no messages of MCP, "
            f"such as: {facts.rubbish}",
            "A server over stdio must print its log on stderr. Some need an argument such as "
            f"`stdio` to speak MCP at all. {log_hint(server)}",
        )
    if facts.opened and not any(one.answered_ms is not None for one in facts.exchanges):
        return Diagnosis(
            "silent",
            f"It runs, but never answers.{last}",
            "It may be no MCP server, or one for HTTP, or it needs longer: "
            f"`patina mcp edit {server} --connect-timeout 60`.",
        )
    return None
