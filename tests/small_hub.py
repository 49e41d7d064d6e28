"""A Hugging Face hub on the loopback address: what huggingface_hub needs to be told to fetch a data set, and faults."""

import json
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class SmallHub(ThreadingHTTPServer):
    """repositories: id -> (commit, names of branches, {name: content}). asked: the paths of all requests so far.

    status: what every request is answered with, if it is set; cut: how many files are cut in the middle from now on;
    silent: let every request wait for ever.
    """

    daemon_threads = True

    def __init__(self):
        self.repositories, self.asked = {}, []
        self.status, self.cut, self.silent = None, 0, threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone is none of the server's business."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallHub

    def do_GET(self):
        self.server.asked.append(unquote(self.path))
        if self.server.silent.is_set():
            threading.Event().wait(60)
        if self.server.status:
            return self._send({"error": "no"}, self.server.status)
        path = urlsplit(self.path).path.strip("/").split("/")
        api = path[0] == "api"
        repository, rest = "/".join(path[1 + api : 3 + api]), [unquote(part) for part in path[3 + api :]]
        if repository not in self.server.repositories:
            return self._send({"error": "no repository"}, 404, {"X-Error-Code": "RepoNotFound"})
        commit, branches, files = self.server.repositories[repository]
        if rest[1:] and rest[1] not in (commit, *branches):
            return self._send({"error": "no revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if api and rest[0] == "revision":
            siblings = [{"rfilename": name} for name in files]
            return self._send({"id": repository, "sha": commit, "siblings": siblings, "private": False, "tags": []})
        if api and rest[0] == "tree":
            assert "recursive" in parse_qs(urlsplit(self.path).query)
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": _oid(body)} for name, body in files.items()
            ]
            return self._send(tree)
        return self._file(files["/".join(rest[2:])], commit)

    do_HEAD = do_GET

    def _file(self, body, commit):
        headers = {"ETag": f'"{_oid(body)}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self._send(body[start:], 206 if start else 200, headers)

    def _send(self, body, status=200, headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            if self.server.cut and "/resolve/" in self.path:
                self.server.cut -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

    def log_message(self, format, *arguments):
        """Nothing on stderr."""


def _oid(body):
    return sha1(b"blob %d\0" % len(body) + body).hexdigest()
