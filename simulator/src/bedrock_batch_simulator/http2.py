"""The server's HTTP/2 with prior knowledge, as the AWS SDK for JavaScript speaks it to http:// endpoints.

Frames and their rules are the library `h2`'s; here are its sockets and threads: one reads, and each request
is answered in one of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import ConnectionLostError
from .wire import Request, Response

_WINDOW = 16 * 1024**2
_STREAMS = 256
_CHUNK = 65536
_STALL_SECONDS = 60.0
_NO_H2 = (
    "HTTP/2 needs `pip install 'bedrock-batch-simulator[server]'`. Or set HTTP/1.1 in the client; in the AWS"
    " SDK for JavaScript: requestHandler: new NodeHttpHandler()"
)


def serve(
    source: io.BufferedIOBase,
    connection: socket.socket,
    begun: bytes,
    answer: Callable[[Request], Response],
) -> None:
    """Answer the requests of one connection until the client leaves it.

    `source` reads from `connection`; `begun`: what was read of it already. `answer`: as for `HttpServer`.
    Without the library `h2` the client is told to use HTTP/1.1.
    """
    # A client says nothing for as long as an answer takes, and on this connection that may be long.
    connection.settimeout(None)
    with contextlib.suppress(OSError):  # the client went away
        if importlib.util.find_spec("h2"):  # only in the extra `server`
            _Connection(source, connection, answer).serve(begun)
        else:
            _refuse(source, connection)


def _refuse(source: io.BufferedIOBase, connection: socket.socket) -> None:
    print(f"bedrock-batch-simulator: {_NO_H2}", file=sys.stderr, flush=True)
    settings = b"\0\0\0\4\0\0\0\0\0"
    said = struct.pack(">II", 0, 0xD) + _NO_H2.encode()  # last stream, HTTP_1_1_REQUIRED
    connection.sendall(settings + struct.pack(">I", len(said))[1:] + b"\7\0\0\0\0\0" + said)
    # What the client sent must be read: a socket closed before takes back what was written to it.
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(2)
    while source.read1(_CHUNK):
        pass


@dataclass
class _Incoming:
    headers: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)


class _Connection:
    def __init__(
        self,
        source: io.BufferedIOBase,
        connection: socket.socket,
        answer: Callable[[Request], Response],
    ) -> None:
        from h2.config import H2Configuration  # noqa: PLC0415
        from h2.connection import H2Connection  # noqa: PLC0415
        from h2.settings import SettingCodes, Settings  # noqa: PLC0415

        self._source, self._socket, self._answer = source, connection, answer
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                SettingCodes.MAX_FRAME_SIZE: 16384,
            },
        )
        self._incoming: dict[int, _Incoming] = {}
        self._changed = threading.Condition()
        """Guards the connection's state; notified when there may be room to send."""
        self._open = True

    def serve(self, begun: bytes) -> None:
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        with self._changed:
            self._h2.initiate_connection()
            self._h2.increment_flow_control_window(_WINDOW)
            self._flush()
        data = begun
        try:
            while data and self._open:
                with self._changed:
                    for event in self._h2.receive_data(data):
                        self._take(event)
                    self._flush()
                    self._changed.notify_all()
                data = self._source.read1(_CHUNK) if self._open else b""
        except ProtocolError:
            with self._changed:
                self._flush()  # `h2` has put its reason there
        finally:
            with self._changed:
                self._open = False
                self._changed.notify_all()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)

    def _take(self, event: Any) -> None:
        from h2 import events  # noqa: PLC0415

        if isinstance(event, events.RequestReceived):
            self._incoming[event.stream_id] = _Incoming([(str(n), str(v)) for n, v in event.headers])
            if ("expect", "100-continue") in self._incoming[event.stream_id].headers:
                self._h2.send_headers(event.stream_id, [(":status", "100")])
        elif isinstance(event, events.DataReceived):
            if (incoming := self._incoming.get(event.stream_id)) is not None:
                incoming.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            if (incoming := self._incoming.pop(event.stream_id, None)) is not None:
                threading.Thread(
                    target=self._respond, args=(event.stream_id, incoming), name="http2", daemon=True
                ).start()
        elif isinstance(event, events.StreamReset):
            self._incoming.pop(event.stream_id, None)
        elif isinstance(event, events.ConnectionTerminated):
            self._open = False

    def _respond(self, stream: int, incoming: _Incoming) -> None:
        from h2.errors import ErrorCodes  # noqa: PLC0415
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        pseudo = {name: value for name, value in incoming.headers if name.startswith(":")}
        headers = [(name, value) for name, value in incoming.headers if not name.startswith(":")]
        if ":authority" in pseudo:
            headers.append(("host", pseudo[":authority"]))
        request = Request(pseudo[":method"], pseudo[":path"], tuple(headers), bytes(incoming.body))
        # A stream that the client has reset, or a connection that it has left, ends the work on it.
        with contextlib.suppress(ProtocolError, OSError):
            try:
                answer = self._answer(request)
            except ConnectionLostError:
                with self._changed:
                    self._h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
                    self._flush()
                return
            self._send(stream, answer, body=request.method != "HEAD")

    def _send(self, stream: int, answer: Response, *, body: bool) -> None:
        headers = [(":status", str(answer.status))]
        headers += [(name.lower(), value) for name, value in answer.headers.items()]
        if not answer.frames and not answer.has("Content-Length"):
            headers.append(("content-length", str(len(answer.body))))
        with self._changed:
            self._h2.send_headers(stream, headers)
            for part in (answer.frames or (answer.body,)) if body else ():
                self._send_part(stream, memoryview(part))
            self._h2.end_stream(stream)
            self._flush()

    def _send_part(self, stream: int, part: memoryview) -> None:
        while part:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room > 0:
                self._h2.send_data(stream, bytes(part[:room]))
                self._flush()
                part = part[room:]
            elif not self._changed.wait(_STALL_SECONDS) or not self._open:
                raise TimeoutError("the client takes no more")
