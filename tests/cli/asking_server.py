"""An MCP server for tests, over stdio and of the handshake era, that asks, tells and changes.

tools      form, page, sample: the raw answer of the person is the result, that of a page after
           `stay` seconds; `two`: two forms;
           needs: fails unless its form is accepted; work: five steps of progress, with logs
resources  test://text, test://binary, test://evil, test://several; each change of test://clock
           is told three times after it was subscribed to
prompts    greet name [style], with completion of name; talk: ends with words of the model
"""

import base64
import itertools
import json
import sys
import threading
from typing import Any

Json = dict[str, Any]
EVIL = "\x1b]0;owned\x07\x1b[2Jshown"
BINARY = b"\x00\xff\x1b[2J\x00"
NAMES = ("Ada", "Alan", "Grace Hopper")
FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Full name", "description": f"As {EVIL}"},
        "mail": {"type": "string", "format": "email"},
        "age": {"type": "integer", "minimum": 1, "maximum": 150, "default": 42},
        "share": {"type": "number"},
        "agree": {"type": "boolean", "default": False},
        "pet": {
            "type": "string",
            "oneOf": [{"const": "c", "title": "Cat"}, {"const": "d", "title": "Dog"}],
            "default": "c",
        },
        "colours": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": ["red", "green", "blue"]},
        },
    },
    "required": ["name", "colours"],
}
ONE = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
TOOLS = ("form", "page", "sample", "two", "needs", "work")
_ids = itertools.count(1)


def send(message: Json) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def told(method: str, **params: object) -> None:
    send({"method": f"notifications/{method}", "params": params})


def ask(method: str, params: Json) -> Json:
    """Ask the client, answering what it asks meanwhile; its result or error."""
    own = f"server-{next(_ids)}"
    send({"id": own, "method": method, "params": params})
    while True:
        message = json.loads(sys.stdin.readline())
        if message.get("id") == own:
            return message.get("result") or {"error": message["error"]}
        serve(message)


def form(schema: Json = FORM) -> Json:
    return ask(
        "elicitation/create",
        {"message": f"Who are you?\n{EVIL}", "requestedSchema": schema},
    )


def call(params: Json) -> Json:
    name, given = params["name"], params.get("arguments") or {}
    said: object
    if name == "form":
        said = form()
    elif name == "two":
        said = [form(ONE), form(ONE)]
    elif name == "needs":
        said = form(ONE)
        if said.get("action") != "accept":
            return {"content": [{"type": "text", "text": "No word."}], "isError": True}
    elif name == "page":
        url = given.get("url", "https://pages.example/start?a=b")
        said = ask(
            "elicitation/create",
            {"mode": "url", "message": "Sign in", "url": url, "elicitationId": "e1"},
        )
        threading.Event().wait(float(given.get("stay", 0)))  # for a sign-in on the page
    elif name == "sample":
        content = {"type": "text", "text": "say hello"}
        messages = [{"role": "user", "content": content}]
        said = ask(
            "sampling/createMessage",
            {"messages": messages, "maxTokens": 100, "systemPrompt": "Be brief."},
        )
    else:
        token = (params.get("_meta") or {}).get("progressToken")
        for step in range(1, 6):
            told("message", level="warning", data=f"log {step} {EVIL}")
            if token is not None:
                told("progress", progressToken=token, progress=step, total=5, message=f"at {step}")
        said = "worked"
    text = said if isinstance(said, str) else json.dumps(said)
    return {"content": [{"type": "text", "text": text}]}


def read(uri: str) -> Json:
    text = {"uri": uri, "mimeType": "text/plain", "text": "a text\nof two lines"}
    blob = {"uri": uri, "mimeType": "application/x-odd", "blob": base64.b64encode(BINARY).decode()}
    contents = {
        "test://text": [text],
        "test://binary": [blob],
        "test://evil": [{**text, "text": EVIL}],
        "test://several": [text, blob],
    }
    return {"contents": contents[uri]}


def prompt(params: Json) -> Json:
    given = params.get("arguments") or {}
    words = {"greet": f"say Hello {given.get('name')}, {given.get('style', 'plainly')}."}
    text = words.get(params["name"], "How are you?")
    messages = [{"role": "user", "content": {"type": "text", "text": text}}]
    if params["name"] == "talk":
        messages.append({"role": "assistant", "content": {"type": "text", "text": "Fine."}})
    return {"messages": messages}


def answer(method: str, params: Json) -> Json:
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": {},
                "prompts": {},
                "resources": {"subscribe": True},
                "completions": {},
                "logging": {},
            },
            "serverInfo": {"name": "asking", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
    if method == "tools/call":
        return call(params)
    if method == "resources/list":
        names = ("text", "binary", "evil", "several", "clock")
        return {"resources": [{"uri": f"test://{name}", "name": name} for name in names]}
    if method == "resources/templates/list":
        return {"resourceTemplates": []}
    if method == "resources/read":
        return read(params["uri"])
    if method == "prompts/list":
        name = {"name": "name", "description": "Whom to greet", "required": True}
        greet = {"name": "greet", "description": "Greet", "arguments": [name, {"name": "style"}]}
        return {"prompts": [greet, {"name": "talk"}]}
    if method == "prompts/get":
        return prompt(params)
    if method == "completion/complete":
        begin = params["argument"]["value"]
        return {"completion": {"values": [one for one in NAMES if one.startswith(begin)]}}
    return {}


def serve(message: Json) -> None:
    method, identifier = message.get("method"), message.get("id")
    if method is None or identifier is None:
        return
    params = message.get("params") or {}
    try:
        result = answer(method, params)
    except KeyError as error:
        send({"id": identifier, "error": {"code": -32602, "message": f"There is no {error}."}})
        return
    send({"id": identifier, "result": result})
    if method == "resources/subscribe":
        for _ in range(3):
            told("resources/updated", uri=params["uri"])


if __name__ == "__main__":
    for line in sys.stdin:
        serve(json.loads(line))
