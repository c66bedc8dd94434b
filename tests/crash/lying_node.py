"""A real HTTP server between a process and its Ethereum node, which passes everything on or changes the answers."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

__all__ = ["Lie", "LyingNode"]

_TIMEOUT_S = 30.0


class Lie(Enum):
    """What the node changes."""

    NONE = "none"
    EVENTS = "events"
    """Another subject in every event."""
    BLOCKS = "blocks"
    """Other hashes of all blocks, the same everywhere: another branch."""
    DUPLICATED = "duplicated"
    """Every event twice."""
    REORDERED = "reordered"
    """The last event first."""
    WITHHELD = "withheld"
    """No events."""


class LyingNode:
    """Answers at `url` with what the node at `upstream` says, after `lie`; the lie may change at any time."""

    def __init__(self, upstream: str) -> None:
        self.lie = Lie.NONE
        self.told = 0
        """How many lies were told."""
        self._upstream = upstream
        # Past any proxy that the environment names.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._answer))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, body: bytes) -> bytes:
        request = urllib.request.Request(self._upstream, data=body, headers={"Content-Type": "application/json"})
        with self._opener.open(request, timeout=_TIMEOUT_S) as response:
            answer: bytes = response.read()
        if self.lie is Lie.NONE:
            return answer
        methods = {entry["id"]: entry["method"] for entry in _objects(json.loads(body))}
        answers: Any = json.loads(answer)
        for entry in _objects(answers):
            method = methods.get(entry.get("id"), "")
            if method == "eth_getLogs" and entry.get("result"):
                entry["result"] = self._other_list(entry["result"])
            self._change(method, entry.get("result"))
        return json.dumps(answers).encode()

    def _other_list(self, logs: list[Any]) -> list[Any]:
        changed = {
            Lie.DUPLICATED: [log for log in logs for _ in range(2)],
            Lie.REORDERED: logs[::-1],
            Lie.WITHHELD: [],
        }.get(self.lie, logs)
        self.told += changed != logs
        return changed

    def _change(self, method: str, result: Any) -> None:
        if method == "eth_getLogs" and self.lie is Lie.EVENTS:
            for log in _objects(result):
                log["topics"][3] = _other(log["topics"][3])
                self.told += 1
        elif method in ("eth_getBlockByNumber", "eth_getLogs") and self.lie is Lie.BLOCKS:
            for entry in _objects(result):
                for name in {"hash", "parentHash", "blockHash"} & set(entry):
                    entry[name] = _other(entry[name])
                self.told += 1


def _objects(value: Any) -> list[dict[str, Any]]:
    # A batch or a list, a single one, or nothing.
    if not value:
        return []
    return cast("list[dict[str, Any]]", value if isinstance(value, list) else [value])


def _other(digits: str) -> str:
    # The same length, another last digit.
    return digits[:-1] + f"{int(digits[-1], 16) ^ 1:x}"


def _handler(answer: Callable[[bytes], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                status, content = 200, answer(self.rfile.read(int(self.headers["Content-Length"])))
            except OSError:
                status, content = 503, b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler
