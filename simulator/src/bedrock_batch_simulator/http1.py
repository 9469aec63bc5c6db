"""The server's HTTP/1.1: bodies with a length or in chunks, and the way to HTTP/2 on the same port."""

from __future__ import annotations

import io
import os
import socket
import socketserver
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import http2
from .errors import ConnectionLostError
from .wire import Request, Response, response

_PRI = b"PRI * HTTP/2.0\r\n"
_LINE = 65536
_IDLE_SECONDS = 120.0


class HttpServer(ThreadingHTTPServer):
    """Listens on `host` and `port` (0: a free one) and gives each request to `answer`.

    Where `answer` raises ConnectionLostError, the connection ends without a response. Raises OSError when it
    cannot listen there.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # where it would let two servers share a port
    request_queue_size = 512

    def __init__(self, host: str, port: int, answer: Callable[[Request], Response]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), type("Handler", (_Handler,), {"answer": staticmethod(answer)}))

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name, as http.server does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        """Say nothing of callers that go away in the middle."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    answer: Callable[[Request], Response]
    raw_requestline: bytes

    def parse_request(self) -> bool:
        if self.raw_requestline == _PRI:
            self.close_connection = True
            http2.serve(self.rfile, self.connection, _PRI, self.answer)
            return False
        return super().parse_request()

    def _handle(self) -> None:
        try:
            body = self._body()
        except ValueError as error:
            self.close_connection = True
            self._send(response(400, {"message": f"The body of the request cannot be read: {error}"}))
            return
        try:
            answer = self.answer(Request(self.command, self.path, tuple(self.headers.items()), body))
        except ConnectionLostError:
            self.close_connection = True
            return
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle  # noqa: N815 (its names)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(_chunks(self.rfile))
        length = int(self.headers.get("Content-Length") or 0)
        return _exactly(self.rfile, length) if length else b""

    def _send(self, answer: Response) -> None:
        in_chunks = bool(answer.frames) and self.request_version != "HTTP/1.0"
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if in_chunks:
            self.send_header("Transfer-Encoding", "chunked")
        elif not answer.has("Content-Length"):
            self.send_header("Content-Length", str(len(answer.body)))
        try:
            self.end_headers()
            if in_chunks:
                for frame in answer.frames:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))
                self.wfile.write(b"0\r\n\r\n")
            elif self.command != "HEAD":
                self.wfile.write(answer.body)
        except OSError:  # the caller went away, which is no matter of the service
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing for each request; the state has the counts."""


def _exactly(source: io.BufferedIOBase, length: int) -> bytes:
    if length < 0:
        raise ValueError("its length is negative")
    data = source.read(length)
    if len(data) < length:
        raise ValueError(f"it ended after {len(data)} of {length} bytes")
    return data


def _chunks(source: io.BufferedIOBase) -> Iterator[bytes]:
    """The chunks of a body (RFC 9112, section 7.1); trailers are passed over."""
    while True:
        line = source.readline(_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("it ended before its last chunk")
        size = int(line.partition(b";")[0].strip(), 16)
        if size == 0:
            break
        yield _exactly(source, size)
        if source.readline(_LINE).strip():
            raise ValueError("a chunk is longer than it says")
    while source.readline(_LINE).strip():
        pass
