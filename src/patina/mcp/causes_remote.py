"""Why a remote server does not run, by a look at it from outside."""

from typing import Final

from patina.mcp.facts import Diagnosis, Facts
from patina.mcp.key_hints import refused
from patina.mcp.look import Look
from patina.mcp.text import shortened, visible


def by_look(facts: Facts, look: Look) -> Diagnosis | None:
    """Return what is seen of a remote server; None where it looks as it should."""
    server = facts.server
    if look.trouble:
        return _unreachable(facts, look)
    kind = facts.settings.transport
    status = look.status()
    edit = f"`patina mcp edit {server} --"
    if status in (401, 407) or (status == 403 and look.spoken != kind):
        return _not_let_in(facts, status)
    if look.spoken and look.spoken != kind:
        return Diagnosis(
            "wrong_transport",
            f"The server speaks {look.spoken}, and is configured as {kind}.",
            f"{edit}transport {look.spoken}`{_scheme(look)}",
        )
    if look.spoken:
        return None
    return _no_server(facts, look, status)


def _not_let_in(facts: Facts, status: int) -> Diagnosis:
    server = facts.server
    if facts.sign_in is not None and status != 407:
        return needs_sign_in(facts, status)
    what = "wants to know who you are" if status == 401 else "does not let you in"
    kind = "needs_sign_in" if status == 401 else "forbidden"
    sentence = f"The server {what} (HTTP status {status})."
    said = refused(server, facts.settings)
    if facts.settings.headers and status == 401:
        return Diagnosis(kind, f"{sentence} What was refused is its key.", said.hint)
    hint = (
        f'Give it your key: `patina mcp edit {server} --header "Authorization=Bearer '
        f'secret:{server}"`, kept with `patina keys set {server}`; or check that the one it has is '
        "still valid."
    )
    return Diagnosis(kind, sentence, hint)


def needs_sign_in(facts: Facts, status: int = 0) -> Diagnosis:
    """Return that a person has to sign in, and where the last sign-in failed."""
    server, last = facts.server, facts.sign_in
    sentence = f"Server {server} wants you to sign in."
    if status:
        sentence = f"{sentence.removesuffix('.')} (HTTP status {status})."
    if last is not None and last.state in ("error", "denied", "timeout"):
        step = _STEPS.get(last.step, "")
        why = shortened(visible(last.message), 300).removesuffix(".")
        at = f" at the step {last.step} ({step})" if step else ""
        sentence += f" The last sign-in failed{at}" + (f": {why}." if why else ".")
    return Diagnosis("needs_sign_in", sentence, f"Run `patina mcp login {server}`.")


# The steps of `auth.failing`, in words.
_STEPS: Final = {
    "discovery": "finding out who signs people in",
    "registration": "making Patina known there",
    "authorization": "sending the person to the page",
    "callback": "the answer that the browser brought",
    "token": "getting the token",
    "refresh": "renewing the token",
}


def _scheme(look: Look) -> str:
    """Return what else must change where the URL is one of another transport."""
    socket, now = look.spoken == "websocket", look.url.startswith("ws")
    if socket == now:
        return "."
    return f", with a --url that begins with {'ws' if socket else 'http'}."


def _no_server(facts: Facts, look: Look, status: int) -> Diagnosis | None:
    """Return what answers there that is no MCP server."""
    address = f"Check the address: `patina mcp edit {facts.server} --url URL`."
    answer = look.answers[0] if look.answers else None
    if answer is None:
        return None
    said = f" It says: {shortened(answer.words, 200)}" if answer.words else ""
    if 300 <= status < 400:
        return Diagnosis("moved", f"{look.url} points to another address ({status}).", address)
    if answer.media_type == "text/html" and status not in (404, 410) and status < 500:
        sentence = f"A web page is at {look.url}, and no MCP server (HTTP status {status})."
        return Diagnosis("web_page", sentence, f"{address} Most end in /mcp or /sse.")
    if status in (404, 410):
        sentence = f"There is nothing at {look.url} (HTTP status {status})."
        return Diagnosis("wrong_path", sentence, f"{address} Most end in /mcp or /sse.")
    if status == 429:
        return Diagnosis("busy", f"The server has had too many requests.{said}", "Try later.")
    if status >= 500:
        sentence = (
            f"The server, or what stands before it, has a fault (HTTP status {status}).{said}"
        )
        return Diagnosis("server_error", sentence, "Try later, or tell who runs it.")
    sentence = f"What answers at {look.url} is no MCP server (HTTP status {status}).{said}"
    return Diagnosis("not_mcp", sentence, address)


def _unreachable(facts: Facts, look: Look) -> Diagnosis:
    server = facts.server
    edit = f"Check the address: `patina mcp edit {server} --url URL`."
    detail = f" ({look.detail})" if look.detail else ""
    through = f" through the proxy {look.proxy}" if look.proxy else ""
    trust = "name its authority's file in SSL_CERT_FILE if you trust it."
    found = {
        "address": (f"{look.url} is no address of a server{detail}.", edit),
        "unknown_host": (f"There is no host {look.detail}.", f"{edit} Is there a network at all?"),
        "refused": (
            f"Nothing listens at {look.url}: the connection is refused.",
            f"Start the server, or correct the port. {edit}",
        ),
        "unreachable": (
            f"{look.url} cannot be reached{through}{detail}.",
            f"Check the network, the proxy and the firewall. {edit}",
        ),
        "silent": (
            f"Something listens at {look.url}, but does not answer{through}.",
            "It may hang or be overloaded, or speak no HTTP.",
        ),
        "expired": (
            "The certificate of the server has expired.",
            "Tell who runs it; and check the clock of this machine.",
        ),
        "untrusted": (
            f"The certificate of the server is not trusted{detail}.",
            f"It may be the wrong server. If its certificate is your own, {trust}",
        ),
        "tls": (
            f"No secure connection can be made{detail}.",
            "Perhaps the port speaks plain http, or ws: change the beginning of the URL.",
        ),
        "proxy": (
            f"The proxy does not lead there{through}{detail}.",
            "Check HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY.",
        ),
        "cut": (
            f"{look.url} breaks the connection off{detail}.",
            "Perhaps the port speaks https rather than http, or no HTTP at all.",
        ),
    }
    kind = look.trouble
    if look.proxy and kind in ("refused", "unreachable"):
        kind = "proxy"  # that is what nobody listens at
    sentence, hint = found[kind]
    return Diagnosis(kind, sentence, hint)
