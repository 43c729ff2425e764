"""Broken servers, each really started or asked: the right diagnosis, and what to do next."""

import ipaddress
import os
import shutil
import socket
import ssl
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.mcp.house import House
from tests.mcp.servers.http_raw import OldServer, Request, Wire, serving
from tests.mcp.servers.socket_server import running

from patina.mcp.ground import ground
from patina.mcp.look import shown_url
from patina.mcp.opening import Surroundings
from patina.mcp.report import Report, examine
from patina.mcp.symptoms import symptom
from patina.mcp.transports.remote import Network
from patina.model.settings import ServerSettings
from patina.secrets.environment import Resolver

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the broken servers are POSIX scripts"),
]
# The beginning of a server that answers; `answer` may be made worse by what follows.
SERVER = """
import json, os, sys
INFO = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
        "serverInfo": {"name": "broken", "version": "1"}}
def send(message, **more):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **more}), flush=True)
def serve(listing, info=INFO):
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "initialize":
            send(message, result=info)
        elif message.get("method") == "tools/list":
            listing(message)
        elif "id" in message:
            send(message, error={"code": -32601, "message": "unknown"})
"""
UNKNOWN_VERSION = """
def refuse(message): pass
serve(refuse, {**INFO, "protocolVersion": "1999-01-01"})
"""
TOOLS_ERROR = """
serve(lambda message: send(message, error={"code": -32603, "message": "database is locked"}))
"""
TOOLS_CRASH = """
serve(lambda message: os._exit(9))
"""
TOOLS_WRONG = """
serve(lambda message: send(message, result={"tools": [{"name": "a", "inputSchema": "none"}]}))
"""
USER = "user:canary-77"
SILENT = "import sys\nfor line in sys.stdin: pass"
USAGE = "import argparse; argparse.ArgumentParser().parse_args()"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
RUBBISH = "import sys\nfor number in range(5): print('INFO step', number, flush=True)\n" + SILENT
DOCKER = (
    "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?"
)


def around(house: House, **more: Any) -> Surroundings:
    keys = Resolver({**house.environ, **house.env_file}, house.keys, house.seen.append)
    return Surroundings(keys, house.environ, house.root / "state", **more)


async def told(
    house: House, settings: ServerSettings, wait: float = 5.0, **more: Any
) -> tuple[str, str]:
    """The kind of the diagnosis, and its words."""
    report = await examined(house, settings, wait, **more)
    assert not report.connected
    assert report.diagnosis is not None
    words = f"{report.diagnosis.sentence} {report.diagnosis.hint}"
    assert words.isprintable()
    assert report.diagnosis.hint
    return report.diagnosis.kind, words


async def examined(
    house: House, settings: ServerSettings, wait: float = 5.0, **more: Any
) -> Report:
    with anyio.fail_after(60):
        return await examine("s", settings, around(house, **more), wait=wait)


def python(text: str, house: House, *args: str, **more: Any) -> ServerSettings:
    path = house.root / "server.py"
    path.write_text(text)
    return ServerSettings(command=sys.executable, args=(str(path), *args), **more)


def script(house: House, text: str, name: str = "script", mode: int = 0o755) -> ServerSettings:
    path = house.root / name
    path.write_text(text)
    path.chmod(mode)
    return ServerSettings(command=str(path))


def says(house: House, words: str, code: int = 1, **more: Any) -> ServerSettings:
    text = f"import sys; print({words!r}, file=sys.stderr); sys.exit({code})"
    return python(text, house, **more)


# M-13
async def test_programs_that_are_not_there(house: House) -> None:
    kind, words = await told(house, ServerSettings(command="/no/such/program"))
    assert kind == "no_program"
    kind, words = await told(house, script(house, "#!/bin/sh\n", mode=0o644))
    assert kind == "denied"
    assert "chmod +x" in words
    kind, words = await told(house, script(house, "no first line\n"))
    assert kind == "not_a_program"
    kind, words = await told(house, script(house, "#!/no/such/interpreter\n"))
    assert kind == "no_interpreter"
    settings = python(SERVER, house, cwd=str(house.root / "gone"))
    kind, words = await told(house, settings)
    assert kind == "no_folder"
    house.environ["PATH"] = str(house.root)
    kind, words = await told(house, ServerSettings(command="npx", args=("-y", "a-server")))
    assert kind == "no_program"
    assert "Install Node.js" in words


async def test_interpreters_and_libraries_that_are_not_there(house: House) -> None:
    kind, words = await told(house, script(house, "#!/usr/bin/env python9\n"))
    assert kind == "no_interpreter"
    assert "Install python9" in words
    kind, words = await told(house, python("import httpxyz", house))
    assert kind == "missing_module"
    assert "httpxyz" in words
    module = ServerSettings(command=sys.executable, args=("-m", "a_server_of_mine"))
    kind, words = await told(house, module)
    assert (kind, "a_server_of_mine" in words) == ("missing_module", True)
    kind, words = await told(house, ServerSettings(command=sys.executable, args=("/no/file.py",)))
    assert (kind, "/no/file.py" in words) == ("no_script", True)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
async def test_what_node_says_of_modules_and_files(house: House) -> None:
    (house.root / "server.cjs").write_text("require('zod-of-mine')")
    node = ServerSettings(command="node", args=(str(house.root / "server.cjs"),))
    kind, words = await told(house, node)
    assert (kind, "zod-of-mine" in words) == ("missing_module", True)
    kind, words = await told(house, ServerSettings(command="node", args=("/no/such/file.js",)))
    assert (kind, "/no/such/file.js" in words) == ("no_script", True)


@pytest.mark.skipif(shutil.which("npx") is None, reason="there is no npx")
async def test_packages_that_cannot_be_had(house: House) -> None:
    async def missing(_: Request, wire: Wire) -> None:
        await wire.json({"error": "Not found"}, "404 Not Found")

    house.environ["HOME"] = str(house.root)
    quick = {"npm_config_fetch_retries": "0", "npm_config_update_notifier": "false"}
    async with serving(missing) as raw:
        env = {**quick, "npm_config_registry": f"http://127.0.0.1:{raw.port}"}
        settings = ServerSettings(command="npx", args=("-y", "@nobody/server"), env=env)
        kind, words = await told(house, settings, wait=30.0)
        assert (kind, "@nobody/server" in words) == ("no_package", True)
    env = {**quick, "npm_config_registry": "http://registry.invalid"}
    settings = ServerSettings(command="npx", args=("-y", "@nobody/server"), env=env)
    kind, words = await told(house, settings, wait=30.0)
    assert kind == "no_network"
    assert "while its package was fetched" in words
    docker = script(house, f"#!/bin/sh\necho '{DOCKER}' >&2\nexit 125\n", "docker")
    kind, words = await told(house, docker)
    assert (kind, "Start Docker" in words) == ("docker", True)


async def test_variables_that_are_missing(house: House) -> None:
    asks = says(house, "Error: MY_TOKEN environment variable is required")
    kind, words = await told(house, asks)
    assert kind == "missing_variable"
    assert "patina keys set s/MY_TOKEN" in words
    house.environ["MY_TOKEN"] = "canary-0123456789"
    kind, words = await told(house, asks)
    assert "withheld" in words
    assert "--env MY_TOKEN=env:MY_TOKEN" in words
    assert "canary" not in words
    given = says(house, "MY_TOKEN is not set", env={"MY_TOKEN": "short"})
    kind, words = await told(house, given)
    assert "does not accept the value" in words
    ours = says(house, "", required=("MY_TOKEN",))
    kind, words = await told(house, ours)
    assert (kind, "needs a value for MY_TOKEN" in words) == ("configuration", True)
    lost = says(house, "", env={"MY_TOKEN": "secret:nowhere"})
    kind, words = await told(house, lost)
    assert (kind, "no secret nowhere" in words) == ("configuration", True)


async def test_servers_that_end(house: House) -> None:
    kind, words = await told(house, says(house, "the disk is on fire \x1b[31m", 3))
    assert kind == "exited"
    assert "exited with code 3" in words
    assert "the disk is on fire" in words
    kind, words = await told(house, python(KILLED, house))
    assert (kind, "was killed by SIGKILL" in words) == ("exited", True)
    kind, words = await told(house, python(USAGE, house, "--nonsense"))
    assert kind == "arguments"


async def test_servers_that_do_not_speak_the_protocol(house: House) -> None:
    kind, words = await told(house, python(SILENT, house), wait=1.0)
    assert kind == "silent"
    assert "--connect-timeout" in words
    kind, words = await told(house, python(RUBBISH, house), wait=1.0)
    assert kind == "rubbish"
    assert "INFO step 0" in words
    web = ("-u", "-m", "http.server", "0", "--bind", "127.0.0.1")
    settings = ServerSettings(command=sys.executable, args=web, cwd=str(house.root))
    kind, words = await told(house, settings, wait=2.0)
    assert kind == "http_server"
    assert "127.0.0.1" in words


async def test_servers_that_answer_wrongly(house: House) -> None:
    kind, words = await told(house, python(SERVER + UNKNOWN_VERSION, house))
    assert kind == "protocol"
    assert "1999-01-01" in words
    kind, words = await told(house, python(SERVER + TOOLS_ERROR, house))
    assert kind == "tools_failed"
    assert "database is locked (error -32603)" in words
    kind, words = await told(house, python(SERVER + TOOLS_CRASH, house))
    assert kind == "tools_failed"
    assert "exited with code 9" in words
    kind, words = await told(house, python(SERVER + TOOLS_WRONG, house))
    assert kind == "tools_invalid"
    assert "inputSchema" in words


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def remote(url: str, transport: Any = "streamable-http", **more: Any) -> ServerSettings:
    return ServerSettings(transport=transport, url=url, **more)


@pytest.mark.parametrize("transport", ["streamable-http", "sse", "websocket"])
async def test_addresses_where_nobody_answers(house: House, transport: str) -> None:
    scheme = "ws" if transport == "websocket" else "http"
    url = f"{scheme}://127.0.0.1:{free_port()}/mcp?key=canary-9876"
    kind, words = await told(house, remote(url, transport))
    assert (kind, "connection is refused" in words) == ("refused", True)
    assert "canary" not in words
    kind, words = await told(house, remote(f"{scheme}://nobody.invalid/mcp", transport))
    assert (kind, "nobody.invalid" in words) == ("unknown_host", True)
    kind, words = await told(house, remote("nonsense", transport))
    assert kind == "address"


async def test_a_port_that_never_answers(house: House) -> None:
    async def hang(_: Request, wire: Wire) -> None:
        await wire.hang()

    async with serving(hang) as raw:
        kind, _ = await told(house, remote(raw.url), wait=0.5)
    assert kind == "silent"


@pytest.mark.parametrize(
    ("status", "body", "media_type", "kind", "says"),
    [
        ("401 Unauthorized", b"{}", "application/json", "needs_sign_in", "patina mcp token s"),
        ("403 Forbidden", b"no", "text/plain", "forbidden", "--header"),
        ("404 Not Found", b"", "text/plain", "wrong_path", "/mcp or /sse"),
        ("404 Not Found", b"<html></html>", "text/html", "wrong_path", "/mcp or /sse"),
        ("200 OK", b"<!doctype html><p>Hi</p>", "text/html", "web_page", "A web page"),
        ("200 OK", b'{"models": []}', "application/json", "not_mcp", "models"),
        ("405 Method Not Allowed", b"Ollama is running", "text/plain", "not_mcp", "Ollama"),
        ("302 Found", b"", "text/plain", "moved", "another address"),
        ("429 Too Many Requests", b"slow", "text/plain", "busy", "later"),
        ("503 Service Unavailable", b"down", "text/plain", "server_error", "503"),
    ],
)
async def test_ports_that_speak_something_else(
    house: House, status: str, body: bytes, media_type: str, kind: str, says: str
) -> None:
    async def handler(_: Request, wire: Wire) -> None:
        await wire.status(status, body, media_type)

    house.keys.secrets["s"] = "canary-0123456789"
    async with serving(handler) as raw:
        settings = remote(raw.url, headers={"Authorization": "Bearer secret:s"})
        found, words = await told(house, settings)
        assert all(r.headers["authorization"] == "Bearer canary-0123456789" for r in raw.requests)
    assert found == kind
    assert says in words
    assert "canary" not in words


async def test_the_wrong_transport(house: House) -> None:
    async def legacy(request: Request, wire: Wire) -> None:
        if request.method == "POST":
            await wire.status("405 Method Not Allowed")
            return
        await wire.events()
        await wire.raw(b"event: endpoint\ndata: /messages?id=1\n\n")
        await wire.hang()

    async with serving(legacy) as raw:
        kind, words = await told(house, remote(raw.url))
        assert (kind, "speaks sse" in words) == ("wrong_transport", True)
        assert "--transport sse" in words
    async with serving(OldServer()) as raw:
        kind, words = await told(house, remote(raw.url, "sse"))
        assert (kind, "speaks streamable-http" in words) == ("wrong_transport", True)
        url = raw.url.replace("http:", "ws:")
        kind, words = await told(house, remote(url, "websocket"))
        assert (kind, "speaks streamable-http" in words) == ("wrong_transport", True)
    async with running() as server:
        kind, words = await told(house, remote(server.url.replace("ws:", "http:")))
        assert (kind, "speaks websocket" in words) == ("wrong_transport", True)
        assert "begins with ws" in words


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path]:
    """Two files with a key and its own certificate for 127.0.0.1: a good one, one too old."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test Authority")])
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    files = []
    for days in (30, -1):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + timedelta(days=days, hours=1))
            .add_extension(place, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        file = tmp_path / f"certificate{days}.pem"
        file.write_bytes(secret + made.public_bytes(pem))
        files.append(file)
    return files[0], files[1]


async def test_certificates(house: House, certificates: tuple[Path, Path]) -> None:
    good, old = certificates
    contexts = []
    for file in (good, old):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        contexts.append(context)
    async with serving(OldServer(), contexts[0]) as raw:
        kind, words = await told(house, remote(raw.url))
        assert (kind, "SSL_CERT_FILE" in words) == ("untrusted", True)
        network = Network(ca_file=str(good))
        with anyio.fail_after(30):
            there = around(house, network=network)
            report = await examine("s", remote(raw.url), there, wait=5.0, deep=True)
        assert report.connected
        assert report.look is not None
        assert report.look.addresses == ("127.0.0.1",)
        certificate = report.look.certificate
        assert certificate is not None
        assert (certificate.issuer, certificate.days) == ("Test Authority", 30)
        kind, words = await told(house, remote(raw.url.replace("https", "http")), 0.5)
        assert kind == "cut"
    async with serving(OldServer(), contexts[1]) as raw:
        kind, words = await told(house, remote(raw.url), network=Network(ca_file=str(old)))
        assert (kind, "expired" in words) == ("expired", True)
    async with serving(OldServer()) as raw:
        kind, words = await told(house, remote(raw.url.replace("http", "https")), 0.5)
        assert (kind, "plain http" in words) == ("tls", True)


async def test_a_proxy_that_is_not_there(house: House) -> None:
    network = Network(http_proxy=f"http://{USER}@127.0.0.1:{free_port()}")
    kind, words = await told(house, remote("http://a.invalid/mcp"), network=network)
    assert kind == "proxy"
    assert "through the proxy" in words
    assert "canary" not in words


async def test_a_good_server_is_told_of_in_full(house: House) -> None:
    settings = ServerSettings(command=sys.executable, args=("-m", "patina.mcp.demo_server"))
    report = await examined(house, settings)
    assert report.connected
    assert report.diagnosis is None
    assert (report.era, report.protocol) == ("handshake", "2025-11-25")
    assert report.name
    assert any(text.startswith("tools") for text in report.capabilities)
    assert len(report.tools) == 4
    steps = [step.text for step in report.timeline]
    assert steps[0] == "process started"
    assert "initialize answered" in steps
    assert steps[-1] == "tools/list answered"
    times = [step.at_ms for step in report.timeline]
    assert times == sorted(times)
    assert times[-1] <= report.took_ms
    async with serving(OldServer(session="session-1")) as raw:
        report = await examined(house, remote(raw.url))
        assert report.connected
        assert report.session_id == "session-1"
        assert report.timeline[0].text == "reached"
    async with running() as server:
        report = await examined(house, remote(server.url, "websocket"))
        assert report.connected
        assert report.era == "stateless"
        assert report.name


async def test_what_a_server_starts_from(house: House) -> None:
    house.environ |= {"MY_TOKEN": "canary", "PLAIN": "canary"}
    tools = house.root / "bin"
    tools.mkdir()
    real = tools / "real"
    real.write_text("#!/bin/sh\necho v9.9.9\n")
    real.chmod(real.stat().st_mode | stat.S_IXUSR)
    (tools / "npx").symlink_to(real)
    house.environ["PATH"] = f"{tools}{os.pathsep}{house.environ['PATH']}"
    settings = ServerSettings(command="npx", args=("-y", "x y"), env={"A_KEY": "env:MY_TOKEN"})
    with anyio.fail_after(30):
        found = await ground(settings, house.environ, run=True)
    assert found.argv == (str(tools / "npx"), "-y", "x y")
    assert found.real_path == str(real.resolve())
    assert found.search_path[0] == str(tools)
    assert found.path_source == "environment"
    assert found.folder_exists
    assert (found.own, found.withheld) == (("A_KEY",), ("MY_TOKEN",))
    assert "PLAIN" in found.inherited
    npx = next(one for one in found.runtimes if one.program == "npx")
    assert (npx.path, npx.version) == (str(tools / "npx"), "v9.9.9")
    assert "canary" not in str(found)
    found = await ground(settings, house.environ, run=False)
    assert not any(one.version for one in found.runtimes)


def test_addresses_without_what_is_secret() -> None:
    assert (
        shown_url(f"https://{USER}@a.example:1/x?key=k&b#f")
        == "https://***@a.example:1/x?key=***&b=***"
    )
    assert shown_url("http://a.example/mcp") == "http://a.example/mcp"
    assert "not an address" in shown_url("http://[::1")


@pytest.mark.parametrize(
    ("words", "kind", "about"),
    [
        ("Because nope was not found in the package registry", "no_package", "nope"),
        ("npm error code ETARGET", "no_package", ""),
        ("docker: pull access denied for a/b, repository", "no_package", "a/b"),
        ("error: Failed to fetch: dns error: failed to lookup address", "no_network", ""),
        ("npm warn EBADENGINE Unsupported engine", "old_runtime", ""),
        ("Error: listen EADDRINUSE: address already in use :::3000", "port_taken", ""),
        ("Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C)", "http_server", "http://127.0.0.1:8000"),
        ("Please set SLACK_TEAM_ID", "missing_variable", "SLACK_TEAM_ID"),
        ("sh: 1: exec: uvx: not found", "no_interpreter", "uvx"),
        ("permission denied while trying to connect to the Docker daemon", "docker_denied", ""),
        ("Error: EACCES: permission denied, open '/x'", "denied", ""),
    ],
)  # fmt: skip
def test_last_words(words: str, kind: str, about: str) -> None:
    found = symptom(f"something before\n{words}\nsomething after")
    assert found is not None
    assert (found.kind, found.about) == (kind, about)


def test_words_that_tell_nothing() -> None:
    assert symptom("") is None
    assert symptom("MCP server started\nready for requests") is None
    assert symptom("A_" * 50_000 + "MISSING " * 10_000) is None
