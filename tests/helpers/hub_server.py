"""A server that speaks the few endpoints of the Hugging Face Hub that huggingface_hub uses for models.

Uploads are "regular", inside the commit; the Hub has large files uploaded by the Xet protocol, which is not here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TOKEN = "hf_test"


@dataclass
class Hub:
    """Repositories, and the requests so far.

    Attributes:
        endpoint: the value of HF_ENDPOINT.
        repos: content of the files of each repository.
        private: repositories that need the token.
        requests: method and path of each request.
    """

    endpoint: str
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def commit(self, repo: str) -> str:
        """The commit of a repository's main branch."""
        text = repr(sorted((name, hashlib.sha1(data).hexdigest()) for name, data in self.repos[repo].items()))
        return hashlib.sha1(text.encode()).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def _send(self, status: int, content: bytes | dict[str, Any] = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status: int, code: str) -> None:
        self._send(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    @property
    def _is_owner(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def _find(self, repo: str, revision: str | None) -> dict[str, bytes] | None:
        if repo not in self.hub.repos or (repo in self.hub.private and not self._is_owner):
            self._fail(401, "RepoNotFound")
            return None
        if revision not in (None, "main", self.hub.commit(repo)):
            self._fail(404, "RevisionNotFound")
            return None
        return self.hub.repos[repo]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            files = self._find(match[1], match[2])
            if files is not None:
                names = [{"rfilename": name} for name in files]
                self._send(200, {"id": match[1], "sha": self.hub.commit(match[1]), "siblings": names})
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            files = self._find(match[1], match[2])
            if files is not None and match[3] not in files:
                self._fail(404, "EntryNotFound")
            elif files is not None:
                self._send_file(files[match[3]], self.hub.commit(match[1]))
        else:
            self._send(404)

    def _send_file(self, content: bytes, commit: str) -> None:
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if span is None:
            self._send(200, content, **headers)
            return
        start, stop = int(span[1]), min(int(span[2] or len(content)), len(content) - 1) + 1
        self._send(206, content[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(content)}", **headers)

    def do_POST(self) -> None:
        path = self._path()
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if not self._is_owner and not path.endswith("validate-yaml"):
            self._fail(401, "Unauthorized")
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted['organization']}/{wanted['name']}"
            status = 409 if repo in self.hub.repos else 200
            self.hub.repos.setdefault(repo, {})
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.hub.private.add(repo)
            self._send(status, {"url": f"{self.hub.endpoint}/{repo}", "error": "exists"})
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            paths = [one["path"] for one in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in paths]
            self._send(200, {"files": modes})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._send(404)

    def _commit(self, repo: str, rows: list[dict[str, Any]]) -> None:
        files = self.hub.repos[repo]
        for row in rows:
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        commit = self.hub.commit(repo)
        self._send(200, {"commitUrl": f"{self.hub.endpoint}/{repo}/commit/{commit}", "commitOid": commit})

    def _path(self) -> str:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        return path

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing to stderr, which is tested."""


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port of this machine until the context ends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        hub = Hub(f"http://127.0.0.1:{server.server_port}")
        _Handler.hub = hub
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
