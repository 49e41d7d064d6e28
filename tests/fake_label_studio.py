"""A small Label Studio on the loopback address: what jaxal asks of version 1.23.2, answered as it does."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import cast

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class Server(ThreadingHTTPServer):
    """Projects, tasks and annotations in memory. `fail`: what the next requests of a method and path end in."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.projects, self.tasks, self.fail, self.asked = {}, {}, [], []
        self.numbers, self.clock, self.lock = count(1), count(), threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def project(self, labels, kind="Choices", value="text", **more):
        number = len(self.projects) + 1
        config = {"label": {"type": kind, "to_name": ["text"], "labels": list(labels),
                            "inputs": [{"type": "Text", "valueType": None, "value": value}]}}  # fmt: skip
        self.projects[number] = {"id": number, "parsed_label_config": config, "model_version": ""} | more
        return number

    def import_tasks(self, project, tasks):
        assert all(0 <= p["score"] <= 1 for task in tasks for p in task["predictions"]), "the server would drop these"
        made = [next(self.numbers) for _ in tasks]
        for number, task in zip(made, tasks, strict=True):
            self.tasks[number] = {"id": number, "project": project, "annotations": [], **task}
        return made

    def annotate(self, task, label, by=1, **more):
        """An answer as the web interface submits it; None: skipped."""
        result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}]
        time = f"2026-11-28T05:00:00.{next(self.clock):06d}Z"
        annotation = {"id": next(self.numbers), "completed_by": by, "result": result if label else [], "lead_time": 1.5,
                      "was_cancelled": label is None, "created_at": time, "updated_at": time} | more  # fmt: skip
        self.tasks[task]["annotations"].append(annotation)
        return annotation

    def edit(self, annotation, label):
        annotation["result"][0]["value"]["choices"] = [label]
        annotation["updated_at"] = f"2026-11-28T05:00:00.{next(self.clock):06d}Z"

    def next(self, project):
        """The task that is served next, None when all are answered: sequential sampling."""
        tasks = (task for _, task in sorted(self.tasks.items()) if task["project"] == project)
        return next((task for task in tasks if not task["annotations"]), None)

    def about(self, project):
        tasks = [task for task in self.tasks.values() if task["project"] == project]
        annotations = [a for task in tasks for a in task["annotations"]]
        skipped = sum(a["was_cancelled"] for a in annotations)
        return self.projects[project] | {
            "task_number": len(tasks),
            "total_annotations_number": len(annotations) - skipped,
            "skipped_annotations_number": skipped,
            "num_tasks_with_annotations": sum(bool(task["annotations"]) for task in tasks),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.partition("?")[0]
        server = cast(Server, self.server)
        with server.lock:
            server.asked.append((self.command, path))
            when = server.fail.pop(0) if server.fail and (self.command, path) == server.fail[0][:2] else (0, 0, None)
            if when[2] == "before":
                return self._answer(503, {"detail": "not now"})
            if self.headers.get("Authorization") not in (f"Token {TOKEN}", "Bearer access") and "token" not in path:
                return self._answer(401, {"status_code": 401, "detail": "Invalid token."})
            status, said = self._answered(path, body)
            if when[2] == "after":  # done, but nobody hears of it
                self.close_connection = True
                return None
        return self._answer(status, said)

    do_GET = do_POST = do_PATCH = _serve

    def _answered(self, path, body):
        server = cast(Server, self.server)
        if path == "/api/token/refresh/":
            return (200, {"access": "access"}) if body["refresh"] == "a.b.c" else (401, {"detail": "Token is invalid"})
        if path == "/api/projects/" and body is None:
            return 200, {"results": [server.about(number) for number in server.projects]}
        if path == "/api/projects/":
            labels = re.findall(r'<Choice value="([^"]*)"', body["label_config"])
            more = {key: body[key] for key in ("title", "description", "sampling")}
            return 201, server.about(server.project(labels, **more))
        if path == "/api/dm/actions":
            for task in body["selectedItems"]["included"]:
                del server.tasks[task]
            return 200, {"processed_items": len(body["selectedItems"]["included"])}
        number, _, rest = path.removeprefix("/api/projects/").partition("/")
        if int(number) not in server.projects:
            return 404, {"detail": "No Project matches the given query."}
        number = int(number)
        if rest == "import":
            return 201, {"task_ids": server.import_tasks(number, body)}
        if rest == "export":
            return 200, [task for task in server.tasks.values() if task["project"] == number]
        if self.command == "PATCH":
            server.projects[number] |= body
        return 200, server.about(number)

    def _answer(self, status, said):
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def served(port=0):
    """A server in a thread of its own."""
    server = Server(port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
