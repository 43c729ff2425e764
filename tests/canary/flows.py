"""Everything that may leak is done once, by the real command with real servers, and recorded."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
from tests.canary.canaries import CANARIES
from tests.canary.leaky_web import Web
from tests.cli.terminal import CTRL_D, terminal

from patina.mcp.auth.shapes import AuthServer, Client, Grant, Tokens

SERVER = str(Path(__file__).with_name("leaky_server.py"))
SECONDS = 120.0
PROMPT = "> "


CONFIGURATION = """version = 1
default_model = "kept/m"
[providers.kept]
kind = "openai_compatible"
base_url = "URL/v1"
api_key = "secret:kept"
[providers.outer]
kind = "openai_compatible"
base_url = "URL/v1"
api_key = "env:CANARY_API_KEY"
[providers.dotted]
kind = "openai_compatible"
base_url = "URL/v1"
api_key = "env:DOTENV_API_KEY"
[providers.refusing]
kind = "openai_compatible"
base_url = "URL/no/v1"
api_key = "secret:kept"
[mcp_servers.leaky]
command = "PYTHON"
args = ["SERVER"]
[mcp_servers.leaky.env]
LEAK_TOKEN = "secret:leaky/LEAK_TOKEN"
LEAK_KEPT = "keyfile:FILE"
LEAK_PEM = "secret:leaky/LEAK_PEM"
LEAK_ODD = "secret:leaky/LEAK_ODD"
[mcp_servers.other]
command = "PYTHON"
args = ["SERVER"]
[mcp_servers.web]
transport = "streamable-http"
url = "URL/mcp"
[mcp_servers.web.headers]
Authorization = "Bearer secret:web/TOKEN"
X-Odd = "secret:web/ODD"
[mcp_servers.broken]
transport = "streamable-http"
url = "URL/broken"
[mcp_servers.broken.headers]
Authorization = "Bearer secret:web/TOKEN"
[mcp_servers.denied]
transport = "streamable-http"
url = "URL/denied"
[mcp_servers.denied.headers]
Authorization = "Bearer secret:web/TOKEN"
[mcp_servers.named]
transport = "streamable-http"
url = "NAMED/mcp"
auth_mode = "none"
[mcp_servers.signed]
transport = "streamable-http"
url = "URL/mcp"
auth_mode = "client"
[mcp_servers.signed.oauth]
client_id = "patina"
client_secret = "secret:signed/client_secret"
"""


class Evidence:
    """What the commands wrote, what their children were given, and what was asked for."""

    def __init__(self, home: Path, web: Web) -> None:
        self.home = home
        self.web = web
        self.said: list[tuple[str, bytes]] = []
        self.children: dict[int, tuple[list[str], dict[str, str]]] = {}
        self.exported: dict[str, bytes] = {}
        self.refused: list[str] = []

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
        own = {"PATINA_HOME": str(self.home), "CANARY_API_KEY": CANARIES["key of the environment"]}
        return {**kept, **own}

    def patina(self, *arguments: str, stdin: str = "", code: int | None = 0) -> bytes:
        """Run a command, watch its children, and keep what it wrote."""
        command = [sys.executable, "-m", "patina", *arguments]
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=self.variables,
                cwd=self.home.parent,
            ) as process,
            self._watched(process.pid),
        ):
            out, err = process.communicate(stdin.encode(), timeout=SECONDS)
        name = " ".join(arguments)
        self.said += [(f"{name} (stdout)", out), (f"{name} (stderr)", err)]
        if code is not None and process.returncode != code:
            self.refused.append(f"{name} ended with {process.returncode}: {err.decode()[:2000]}")
        return out

    @contextmanager
    def _watched(self, pid: int) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                try:
                    ours = psutil.Process(pid).cmdline()
                    found = psutil.Process(pid).children(recursive=True)
                except psutil.Error:
                    continue
                for child in found:
                    try:
                        argv, environ = child.cmdline(), child.environ()
                        # Between fork and exec a child still is the program that starts it.
                        if argv != ours and child.cmdline() == argv:
                            self.children[child.pid] = argv, environ
                    except psutil.Error:
                        continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)


def configure(home: Path, url: str) -> None:
    """Write the configuration, the `.env`, the key file, and keep the secrets."""
    home.mkdir(parents=True)
    (home / ".env").write_text(f"DOTENV_API_KEY={CANARIES['key of .env']}\n")
    file = home / "canary.key"
    file.write_text(CANARIES["key file"] + "\n")
    file.chmod(0o600)
    userinfo = url.replace("://", f"://me:{CANARIES['password of an address']}@")
    (home / "config.toml").write_text(
        CONFIGURATION.replace("URL", url)
        .replace("NAMED", userinfo)
        .replace("FILE", str(file))
        .replace("PYTHON", sys.executable)
        .replace("SERVER", SERVER)
    )


def keep_secrets(run: Any) -> None:
    """Keep the secrets as `patina keys set` and a sign-in do. `run` is a `Context`."""
    kept = {
        "kept": "key of the vault",
        "leaky/LEAK_TOKEN": "variable of a server",
        "leaky/LEAK_PEM": "private key",
        "leaky/LEAK_ODD": "odd key",
        "web/TOKEN": "bearer of a header",
        "signed/client_secret": "client secret",
    }
    for name, canary in kept.items():
        run.keys.set(name, CANARIES[canary])
    run.keys.set("web/ODD", CANARIES["odd key"].encode("ascii", "ignore").decode())


def sign_in(run: Any, url: str) -> None:
    """Leave what a sign-in to the server `signed` leaves."""
    tokens = Tokens(
        access=CANARIES["access token"],
        refresh=CANARIES["refresh token"],
        id_token=CANARIES["id token"],
        expires_at=4e9,
    )
    client = Client(
        client_id="patina",
        secret=CANARIES["client secret"],
        method="client_secret_basic",
        issuer=url,
    )
    server = AuthServer(issuer=url, token_endpoint=f"{url}/denied/token")
    grant = Grant(
        url=f"{url}/mcp", server=server, client=client, tokens=tokens, key=CANARIES["private key"]
    )
    secrets = (tokens.access, tokens.refresh, tokens.id_token, client.secret, grant.key)
    run.grants.write("signed", msgspec.json.encode(grant), secrets)


def converse(evidence: Evidence) -> None:
    """Conversations with every tool, in every style of output."""
    all_tools = "leaky__spill leaky__flood leaky__fail leaky__break"
    approve = ("--approve", "all,start:leaky,start:other", "--mcp")
    evidence.patina(
        "ask", f"Call {all_tools}", *approve, "leaky", "--debug-mcp", "--log-level", "debug"
    )
    evidence.patina("ask", f"Call {all_tools}", *approve, "leaky", "--events")
    evidence.patina("ask", f"Call {all_tools}", *approve, "leaky", "--json", "-m", "outer/m")
    evidence.patina("ask", "Call other__spill", *approve, "other", "-m", "dotted/m")
    remote = "web__echo broken__echo signed__echo named__echo"
    servers = "web,broken,signed,named,denied"
    evidence.patina(
        "ask", f"Call {remote}", *approve, servers, "--events", "--debug-mcp", code=None
    )
    evidence.patina("ask", f"Call {remote}", *approve, servers, "--json", code=None)
    for style in ((), ("--json",), ("--events",)):
        evidence.patina("ask", "Hello", "-m", "refusing/m", *style, code=None)
    secrets = " ".join(CANARIES.values())
    evidence.patina("ask", "-q", "--no-tools", "--system", secrets, stdin=secrets)
    evidence.patina("ask", "-c", "--no-tools", f"{secrets} and more")


def talk(evidence: Evidence) -> None:
    """A chat in a terminal, where servers, models and the person have secrets in what they say."""
    typed = f"Call leaky__spill {CANARIES['key of .env']}"
    arguments = ("chat", "--approve", "all,start:leaky,start:other")
    with terminal(*arguments, variables=evidence.variables) as screen:
        screen.see(PROMPT)
        for line in (typed, "/mcp", "/tools", "/status", "/export"):
            screen.type(f"{line}\n")
            screen.see(f"{line}\r\n")
            screen.see(f"\r\n{PROMPT}")
        screen.type(CTRL_D)
        code = screen.end()
    # What somebody types is shown to them.
    shown = screen.shown.replace(typed, "", 1)
    evidence.said.append(("chat", shown.encode()))
    if code or "leaky__spill" not in shown:
        evidence.refused.append(f"chat ended with {code}: {shown[-2000:]}")


def inspect(evidence: Evidence) -> None:
    """The commands that show what is known of servers, models and conversations."""
    for command in (
        "mcp trust leaky --yes",
        "mcp test leaky",
        "mcp test denied",
        "mcp test signed",
        "mcp test named",
        "mcp doctor leaky",
        "mcp doctor broken",
        "mcp doctor denied",
        "mcp list",
        "mcp list --json",
        "mcp tools leaky --refresh",
        "mcp tools web --json",
        "mcp call leaky spill --approve all",
        "mcp call leaky spill --approve all --json",
        "mcp call leaky flood --approve all",
        "mcp call leaky fail --approve all --json",
        "mcp call leaky break --approve all",
        "mcp call web echo --approve all",
        "mcp call signed echo --approve all --debug-mcp",
        "mcp call broken echo --approve all",
        "mcp call denied echo --approve all",
        "mcp resources leaky",
        "mcp read leaky leak://all",
        "mcp prompts leaky",
        "mcp prompt leaky all",
        "mcp logs leaky",
        "mcp remove named --yes",
        "doctor",
        "doctor --json",
        "keys list",
        "config get",
        "config get mcp_servers.web.headers",
        "models",
        "sessions list",
        "sessions list --json",
        "sessions search canary",
        "reindex",
    ):
        evidence.patina(*command.split(), code=None)


def take_over(evidence: Evidence, folder: Path) -> None:
    """A conversation of another program, in which secrets stand wherever something can stand."""
    secrets = " ".join(CANARIES.values())
    asked = {
        "id": "a",
        "author": {"role": "user"},
        "create_time": 1.7e9,
        "content": {"content_type": "text", "parts": [secrets]},
    }
    conversation = {
        "conversation_id": "11111111-1111-1111-1111-111111111111",
        "title": secrets,
        "create_time": 1.7e9,
        "update_time": 1.7e9,
        "current_node": "a",
        "mapping": {
            "r": {"id": "r", "message": None, "parent": None, "children": ["a"]},
            "a": {"id": "a", "message": asked, "parent": "r", "children": []},
        },
    }
    path = folder / "conversations.json"
    path.write_bytes(msgspec.json.encode([conversation]))
    evidence.patina("sessions", "import", str(path))


def rename(evidence: Evidence) -> None:
    """Facts about conversations that have secrets in them."""
    listed = msgspec.json.decode(evidence.patina("sessions", "list", "--json"))
    name = listed[0]["session_id"]
    title = f"{CANARIES['key of .env']} {CANARIES['access token']}"
    evidence.patina("sessions", "rename", name, title, "--json")
    evidence.patina("sessions", "tag", name, CANARIES["key of the vault"])
    evidence.patina("sessions", "folder", name, "--to", CANARIES["bearer of a header"])


def export(evidence: Evidence, folder: Path) -> None:
    """Every conversation in every format, and a backup of everything."""
    for kind in ("jsonl", "md", "html", "json"):
        target = folder / kind
        evidence.patina("sessions", "export", "--all", "--format", kind, "-o", str(target))
        for path in sorted(target.rglob("*")):
            if path.is_file():
                evidence.exported[str(path.relative_to(folder))] = path.read_bytes()
    for name in ("backup.tar.gz", "backup.zip"):
        evidence.patina("backup", str(folder / name))
