"""A real HTTP server before a content store, which passes everything on and can keep the answer to one read back."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["HoldingStore"]

_TIMEOUT_S = 60.0
_PASSED_ON = ("Authorization", "Content-Type")


class HoldingStore:
    """Answers at `url` as the store at `upstream`; reads of a path that holds `held` wait until `release`."""

    def __init__(self, upstream: str) -> None:
        self.held: str | None = None
        self.asked = threading.Event()
        """Set when somebody waits for what is held."""
        self._released = threading.Event()
        self._upstream = upstream
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def release(self) -> None:
        """Answer what was held."""
        self._released.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """The store's answer."""
        if method == "GET" and self.held is not None and self.held in path:
            self.asked.set()
            self._released.wait(_TIMEOUT_S)
        request = urllib.request.Request(self._upstream + path, data=body, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 503, b""


def _handler(store: HoldingStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length or self.command in ("PUT", "POST") else None
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            status, content = store.answer(self.command, self.path, body, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = _pass_on

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler
