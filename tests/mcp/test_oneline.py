"""One line of a person, read as a server (A-18, A-20)."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.mcp.oneline import package_name, parse_add, slug
from patina.model.faults import UsageFault
from patina.model.settings import ServerSettings

ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


# A-18 A-20
@pytest.mark.parametrize(
    ("line", "name", "command", "args", "package"),
    [
        (
            "npx -y @github/mcp-server",
            "github-mcp-server",
            "npx",
            ("-y", "@github/mcp-server"),
            {"type": "npm", "identifier": "@github/mcp-server", "runtime_hint": "npx"},
        ),
        (
            "npx -y @scope/pkg@1.2.3 --flag /data",
            "scope-pkg",
            "npx",
            ("-y", "@scope/pkg@1.2.3", "--flag", "/data"),
            {"type": "npm", "identifier": "@scope/pkg@1.2.3", "runtime_hint": "npx"},
        ),
        (
            "npx --package=@a/b -- b-bin",
            "a-b",
            "npx",
            ("--package=@a/b", "--", "b-bin"),
            {"type": "npm", "identifier": "@a/b", "runtime_hint": "npx"},
        ),
        (
            "uvx mcp-server-git@latest --repository 'my repo'",
            "mcp-server-git",
            "uvx",
            ("mcp-server-git@latest", "--repository", "my repo"),
            {"type": "pypi", "identifier": "mcp-server-git@latest", "runtime_hint": "uvx"},
        ),
        (
            "docker run -i --rm -e TOKEN ghcr.io/github/github-mcp-server:1.0",
            "github-mcp-server",
            "docker",
            ("run", "-i", "--rm", "-e", "TOKEN", "ghcr.io/github/github-mcp-server:1.0"),
            {"type": "docker", "identifier": "ghcr.io/github/github-mcp-server:1.0"},
        ),
        (
            "npx -y @modelcontextprotocol/server-filesystem /tmp",
            "server-filesystem",
            "npx",
            ("-y", "@modelcontextprotocol/server-filesystem", "/tmp"),
            {
                "type": "npm",
                "identifier": "@modelcontextprotocol/server-filesystem",
                "runtime_hint": "npx",
            },
        ),
        (
            "docker run -i --rm mcp/time",
            "time",
            "docker",
            ("run", "-i", "--rm", "mcp/time"),
            {"type": "docker", "identifier": "mcp/time"},
        ),
        (
            "docker run --rm mcp/time",
            "time",
            "docker",
            ("run", "-i", "--rm", "mcp/time"),
            {"type": "docker", "identifier": "mcp/time"},
        ),
    ],
)
def test_package_runners(
    tmp_path: Path,
    line: str,
    name: str,
    command: str,
    args: tuple[str, ...],
    package: dict[str, str],
) -> None:
    suggested, made = parse_add(line, environ=ENVIRON, folder=tmp_path)
    assert suggested == name
    assert made == ServerSettings(command=command, args=args, package=package)
    words = [command, *(word for word in args if word != "-i" or "-i" in line)]
    assert parse_add(words, environ=ENVIRON, folder=tmp_path) == (suggested, made)


#
@pytest.mark.parametrize(
    ("line", "name", "transport"),
    [
        ("https://server.smithery.ai/mcp", "smithery", "streamable-http"),
        ("https://server.smithery.ai/@github/mcp-server/mcp", "github-mcp-server", None),
        ("https://api.githubcopilot.com/mcp/", "githubcopilot", "streamable-http"),
        ("http://localhost:3001/sse", "localhost", "sse"),
        ("http://127.0.0.1:8000/mcp", "127-0-0-1", "streamable-http"),
        ("wss://mcp.example.com/ws", "example", "websocket"),
        ("ws://localhost:9000", "localhost", "websocket"),
        ("HTTPS://Mcp.Example.com/mcp", "example", "streamable-http"),
    ],
)
def test_addresses(tmp_path: Path, line: str, name: str, transport: str | None) -> None:
    suggested, made = parse_add(line, environ=ENVIRON, folder=tmp_path)
    # A name below the host wins where the host serves many.
    assert suggested == ("github-mcp-server" if "@github" in line else name)
    assert made.transport == (transport or "streamable-http")
    assert made.url == line
    assert made.source == {"type": "manual", "url": line}


def test_plain_commands(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("")
    name, made = parse_add("python3 server.py --x", environ=ENVIRON, folder=tmp_path)
    assert (name, made.cwd) == ("server", str(tmp_path))
    name, made = parse_add("A=1 B='2 3' sh -c true", environ=ENVIRON, folder=tmp_path)
    assert made.env == {"A": "1", "B": "2 3"}
    assert (made.command, made.args, made.cwd) == ("sh", ("-c", "true"), "")
    name, _ = parse_add("python3 -m mcp_server_time", environ=ENVIRON, folder=tmp_path)
    assert name == "mcp_server_time"
    name, _ = parse_add("python3 /opt/weather/dist/index.js", environ=ENVIRON, folder=tmp_path)
    assert name == "weather"


#
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no command"),
        ("hello there", "no program hello"),
        ("ftp://example.com/x", "kind ftp"),
        ("https://", "no host"),
        ("https://me:word" + "@example.com/mcp", "user name or password"),
        ("npx", "no package"),
        ("npx -y", "no package"),
        ("docker run -i", "no image"),
        ("sh -c 'x' | tee log", "without a shell"),
        ("npx 'unclosed", "quotes"),
        ('{"mcpServers": {}}', "JSON"),
        ('[{"command": "npx"}]', "JSON"),
        ("wss://", "no host"),
        ("ws:/a.example", "no program"),
        ("mailto:me@example.com", "no program"),
        ("   ", "no command"),
        ("A=1", "no command"),
        ("@github/mcp-server", "package, not a command"),
        ("http://[::1", "not valid"),
    ],
)
def test_anything_else_says_what_would_work(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(UsageFault) as caught:
        parse_add(line, environ=ENVIRON, folder=tmp_path)
    assert words in caught.value.failure.message
    assert caught.value.failure.hint


#
def test_the_hint_names_each_form(tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as caught:
        parse_add("hello there", environ=ENVIRON, folder=tmp_path)
    hint = caught.value.failure.hint
    for form in ("npx -y PACKAGE", "uvx PACKAGE", "docker run -i --rm IMAGE", "http(s)", "ws(s)"):
        assert form in hint


#
@pytest.mark.parametrize(
    ("kind", "identifier", "name"),
    [
        ("npm", "@github/mcp-server", "github-mcp-server"),
        ("npm", "@a/b@1.2", "a-b"),
        ("npm", "plain@1", "plain"),
        ("docker", "ghcr.io/github/github-mcp-server:1.0", "github-mcp-server"),
        ("oci", "localhost:5000/time@sha256:ab", "time"),
        ("pypi", "mcp-server-git[all]==1.0", "mcp-server-git"),
        ("nuget", "Sample.Server@0.4.0-beta", "sample-server"),
    ],
)
def test_packages_name_their_servers(kind: str, identifier: str, name: str) -> None:
    assert package_name({"type": kind, "identifier": identifier}) == name


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_line_is_a_server_or_a_usage_fault(
    tmp_path_factory: pytest.TempPathFactory, line: str
) -> None:
    try:
        name, made = parse_add(line, environ={"PATH": ""}, folder=tmp_path_factory.getbasetemp())
    except UsageFault:
        return
    assert re.fullmatch(r"[a-z0-9_-]{1,32}", name)
    assert made.command or made.url


@settings(deadline=None)
@given(st.text(max_size=80))
def test_slugs_are_names(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{1,32}", slug(text))
