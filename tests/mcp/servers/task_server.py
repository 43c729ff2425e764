"""An MCP server (stdio, standard library) whose tools run as tasks, in the era of its argument.

    task_server.py 2025-11-25|2026-07-28 FOLDER

Its tasks are in the file `tasks.json` of the folder: a server that is started again knows them.
They do nothing but be polled: `polls` times, then they come to the end that their tool names.
"""

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ERA = sys.argv[1]
PLACE = Path(sys.argv[2])
NEW = ERA == "2026-07-28"
FORM = {
    "mode": "form",
    "message": "Which one?",
    "requestedSchema": {"type": "object", "properties": {"one": {"type": "string"}}},
}
TOOLS = (
    *("works", "asks", "withdraws", "fails", "errs", "forgets"),
    *("stops", "waits", "busy", "minus", "dies", "tells", "purges", "plain"),
)


class Tasks:
    def __init__(self) -> None:
        self.path = PLACE / "tasks.json"
        self.all: dict[str, Json] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.waiting: dict[str, list[object]] = {}
        self.questions: dict[str, str] = {}

    def save(self) -> None:
        whole = self.path.with_suffix(".new")
        whole.write_text(json.dumps(self.all))
        whole.replace(self.path)

    def begin(self, tool: str, params: Json) -> Json:
        task_id = f"t-{len(self.all) + 1}"
        arguments = params.get("arguments") or {}
        token = (params.get("_meta") or {}).get("progressToken")
        self.all[task_id] = {
            "tool": tool,
            "left": arguments.get("polls", 1),
            "every": arguments.get("every", 1),
            "asked": (params.get("task") or {}).get("ttl"),
            "token": token,
            "polled": 0,
            "refused": 0,
            "status": "working",
        }
        self.save()
        return self.shown(task_id)

    def shown(self, task_id: str) -> Json:
        task = self.all[task_id]
        every, ttl = ("pollIntervalMs", "ttlMs") if NEW else ("pollInterval", "ttl")
        shown = {
            "taskId": task_id,
            "status": task["status"],
            "statusMessage": f"polled {task['polled']}",
            "createdAt": "2026-11-22T00:00:00Z",
            "lastUpdatedAt": "2026-11-22T00:00:00Z",
            every: task["every"],
            ttl: 60_000,
        }
        if NEW and task["status"] == "completed":
            shown["result"] = self.result(task)
        if NEW and task["status"] == "failed":
            shown["error"] = {"code": -32050, "message": "out of paper"}
        if NEW and task["status"] == "input_required":
            shown["inputRequests"] = {"which": {"method": "elicitation/create", "params": FORM}}
        return shown

    def result(self, task: Json) -> Json:
        text = task.get("answer") or f"done after {task['polled']} polls"
        content = [{"type": "text", "text": text}]
        return {"content": content, "isError": task["tool"] == "errs"}

    def poll(self, identifier: object, task_id: str) -> None:
        task = self.all.get(task_id)
        if task is None:
            refuse(identifier, -32602, "Failed to retrieve task: \x1b[31mTask has expired")
            return
        if task["tool"] == "busy" and task["refused"] < 2:
            task["refused"] += 1
            refuse(identifier, -32603, "the disk is busy")
            return
        if task["tool"] == "minus":
            refuse(identifier, -32000, "quota exceeded")
            return
        if task["tool"] == "dies" and task["polled"] and not task.get("died"):
            task["died"] = True
            self.save()
            sys.exit(9)
        task["polled"] += 1
        if task["status"] == "working" and task["tool"] != "waits":
            task["left"] -= 1
            if task["left"] <= 0:
                self.turn(task_id, task)
        elif task["tool"] == "withdraws" and task["polled"] >= 4:
            task["status"] = "completed"
        if task["token"]:
            done = {"progressToken": task["token"], "progress": task["polled"], "message": "on"}
            send({"method": "notifications/progress", "params": done})
        self.save()
        if task["status"] != "gone":
            answer(identifier, self.shown(task_id))
        else:
            del self.all[task_id]
            self.save()
            self.poll(identifier, task_id)
        self.settle(task_id)

    def turn(self, task_id: str, task: Json) -> None:
        """Let the task come to what its tool names, once it was polled often enough."""
        tool = task["tool"]
        if tool in ("asks", "withdraws", "purges") and not task.get("answer"):
            task["status"] = "input_required"
            self.ask(task_id)
        else:
            ends = {"fails": "failed", "errs": "completed" if NEW else "failed"}
            ends |= {"forgets": "gone", "stops": "cancelled"}
            task["status"] = ends.get(tool, "completed")

    def ask(self, task_id: str) -> None:
        """Of 2025-11-25: a question goes out while somebody waits for the result."""
        if not NEW and task_id in self.waiting and task_id not in self.questions.values():
            question = f"q-{len(self.questions)}"
            self.questions[question] = task_id
            related = {"io.modelcontextprotocol/related-task": {"taskId": task_id}}
            params = {**FORM, "_meta": related}
            send({"id": question, "method": "elicitation/create", "params": params})

    def take(self, task_id: str, response: Json) -> None:
        task = self.all[task_id]
        content = response.get("content") or {}
        task["answer"] = f"{response['action']} {content.get('one', '')}".strip()
        task["status"] = "working"
        task["left"] = 2
        self.save()

    def wait(self, identifier: object, task_id: str) -> None:
        if task_id not in self.all:
            refuse(identifier, -32602, "no such task")
            return
        self.waiting.setdefault(task_id, []).append(identifier)
        if self.all[task_id]["status"] == "input_required":
            self.ask(task_id)
        self.settle(task_id)

    def settle(self, task_id: str) -> None:
        """Of 2025-11-25: answer who waits for the result, if there is one."""
        task = self.all.get(task_id)
        if task is None or task["status"] not in ("completed", "failed", "cancelled"):
            return
        if task["tool"] == "purges" and task_id in self.waiting:
            del self.all[task_id]
        for identifier in self.waiting.pop(task_id, ()):
            if task["tool"] == "fails":
                refuse(identifier, -32050, "out of paper")
            else:
                answer(identifier, self.result(task))

    def cancel(self, identifier: object, task_id: str) -> None:
        self.all[task_id]["status"] = "cancelled"
        self.save()
        answer(identifier, {} if NEW else self.shown(task_id))


def send(message: Json) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(identifier: object, result: Json) -> None:
    send({"id": identifier, "result": {"resultType": "complete", **result} if NEW else result})


def refuse(identifier: object, code: int, message: str) -> None:
    send({"id": identifier, "error": {"code": code, "message": message}})


def introduction() -> Json:
    if NEW:
        return {
            "supportedVersions": [ERA],
            "capabilities": {
                "tools": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}},
            },
            "ttlMs": 0,
            "cacheScope": "private",
        }
    return {
        "protocolVersion": ERA,
        "capabilities": {
            "tools": {},
            "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
        },
        "serverInfo": {"name": "tasks", "version": "1"},
    }


def listed() -> Json:
    more = {} if NEW else {"execution": {"taskSupport": "required"}}
    tools = [{"name": name, "inputSchema": {"type": "object"}, **more} for name in TOOLS]
    return {"tools": tools, **({"ttlMs": 0, "cacheScope": "private"} if NEW else {})}


def declares_tasks(params: Json) -> bool:
    said = (params.get("_meta") or {}).get("io.modelcontextprotocol/clientCapabilities") or {}
    return "io.modelcontextprotocol/tasks" in (said.get("extensions") or {})


def call(tasks: Tasks, identifier: object, params: Json) -> None:
    tool = params["name"]
    if tool == "plain":
        answer(identifier, {"content": [{"type": "text", "text": "at once"}]})
    elif NEW and not declares_tasks(params):
        refuse(identifier, -32021, "Missing required client capability")
    elif NEW:
        answer(identifier, {**tasks.begin(tool, params), "resultType": "task"})
    elif "task" not in params:
        refuse(identifier, -32601, "this tool runs as a task only")
    else:
        task = tasks.begin(tool, params)
        answer(identifier, {"task": task})
        if tool == "tells":
            send({"method": "notifications/tasks/status", "params": task})


def take(tasks: Tasks, message: Json) -> None:
    identifier, method = message.get("id"), message.get("method")
    params = message.get("params") or {}
    task_id = params.get("taskId", "")
    if method is None:
        if "result" in message:
            tasks.take(tasks.questions[message["id"]], message["result"])
    elif method == ("server/discover" if NEW else "initialize"):
        answer(identifier, introduction())
    elif method == "tools/list":
        answer(identifier, listed())
    elif method == "tools/call":
        call(tasks, identifier, params)
    elif method == "tasks/get":
        tasks.poll(identifier, task_id)
    elif method == "tasks/result" and not NEW:
        tasks.wait(identifier, task_id)
    elif method == "tasks/cancel":
        tasks.cancel(identifier, task_id)
    elif method == "tasks/update" and NEW:
        for response in params["inputResponses"].values():
            tasks.take(task_id, response)
        answer(identifier, {})
    elif method == "ping":
        answer(identifier, {})
    elif identifier is not None:
        refuse(identifier, -32601, "unknown")


def main() -> None:
    tasks = Tasks()
    for line in sys.stdin:
        take(tasks, json.loads(line))


main()
