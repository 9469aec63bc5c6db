"""HTTP as clients speak it: chunks, 100-continue, and HTTP/2 with prior knowledge, over real sockets."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from bedrock_batch_simulator import ConnectionLostError
from bedrock_batch_simulator.http1 import HttpServer
from bedrock_batch_simulator.wire import Request, Response
from h2 import events
from h2.connection import H2Connection
from h2.errors import ErrorCodes

PATIENCE = 20.0


class Echo:
    """Answers with the method and the body; `/wait` waits to be let, `/lost` loses the connection."""

    def __init__(self) -> None:
        self.let = threading.Event()

    def __call__(self, request: Request) -> Response:
        path = urlsplit(request.target).path
        if path == "/lost":
            raise ConnectionLostError("lost")
        if path == "/wait":
            assert self.let.wait(PATIENCE)
        if path == "/frames":
            return Response(200, {}, b"one two", (b"one ", b"two"))
        return Response(200, {"X-Path": request.target}, request.method.encode() + b" " + request.body)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def address(echo: Echo) -> Iterator[tuple[str, int]]:
    with HttpServer("127.0.0.1", 0, echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            echo.let.set()
            server.shutdown()
            thread.join(PATIENCE)


@pytest.fixture
def http1(address: tuple[str, int]) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    yield connection
    connection.close()


@pytest.fixture
def raw(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


# --- HTTP/1.1 -----------------------------------------------------------------------------------


def test_a_body_in_chunks_is_put_together(http1: http.client.HTTPConnection) -> None:
    http1.request("PUT", "/", body=iter([b"one ", b"two"]), encode_chunked=True)
    assert http1.getresponse().read() == b"PUT one two"


def test_after_a_body_in_chunks_the_connection_goes_on(http1: http.client.HTTPConnection) -> None:
    http1.request("PUT", "/", body=iter([b"one"]), encode_chunked=True)
    http1.getresponse().read()
    http1.request("POST", "/", body=b"two")
    assert http1.getresponse().read() == b"POST two"


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        (b"Transfer-Encoding: chunked", b"zz\r\n", b"invalid literal"),
        (b"Transfer-Encoding: chunked", b"5\r\nab", b"ended after 2 of 5 bytes"),
        (b"Transfer-Encoding: chunked", b"2\r\nabcd\r\n", b"longer than it says"),
        (b"Content-Length: 9", b"abc", b"ended after 3 of 9 bytes"),
        (b"Content-Length: -1", b"", b"negative"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    raw: socket.socket, head: bytes, body: bytes, words: bytes
) -> None:
    raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + body)
    raw.shutdown(socket.SHUT_WR)
    answer = until_closed(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert words in answer


def test_a_client_that_asks_first_is_told_to_send_its_body(raw: socket.socket) -> None:
    # given a client that sends its headers alone
    raw.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert raw.recv(65536).startswith(b"HTTP/1.1 100 ")

    # when it was told to go on and sends the rest, then it is answered
    raw.sendall(b"body")
    raw.shutdown(socket.SHUT_WR)
    assert until_closed(raw).endswith(b"PUT body")


def test_the_answer_to_head_has_no_body(http1: http.client.HTTPConnection) -> None:
    http1.request("HEAD", "/")
    answer = http1.getresponse()
    assert (answer.headers["Content-Length"], answer.read()) == ("5", b"")


def test_a_stream_is_sent_in_chunks(raw: socket.socket) -> None:
    raw.sendall(b"GET /frames HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = until_closed(raw).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"


def test_a_lost_connection_is_closed_without_a_word(raw: socket.socket) -> None:
    raw.sendall(b"GET /lost HTTP/1.1\r\nHost: x\r\n\r\n")
    assert until_closed(raw) == b""


# --- HTTP/2 -------------------------------------------------------------------------------------


class Http2Client:
    """One connection with prior knowledge. `bodies`, `statuses` and `resets` by the number of the stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.h2 = H2Connection()
        self.h2.initiate_connection()
        self._flush()
        self.bodies: dict[int, bytearray] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goodbye: events.ConnectionTerminated | None = None

    def _flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def send(self, method: str, path: str, body: bytes = b"") -> int:
        """Begin a request; returns its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "127.0.0.1")]
        self.h2.send_headers(stream, head, end_stream=not body)
        self._flush()
        rest = memoryview(body)
        while rest:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room:
                self.h2.send_data(stream, bytes(rest[:room]), end_stream=len(rest) <= room)
                rest = rest[room:]
                self._flush()
            else:
                self._read()
        return stream

    def _read(self) -> bool:
        data = self._socket.recv(65536)
        for event in self.h2.receive_data(data):
            if isinstance(event, events.ResponseReceived):
                self.headers[event.stream_id] = {_text(n): _text(v) for n, v in event.headers}
            elif isinstance(event, events.DataReceived):
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, events.StreamReset):
                self.resets[event.stream_id] = int(event.error_code)
            elif isinstance(event, events.ConnectionTerminated):
                self.goodbye = event
        self._flush()
        return bool(data)

    def wait(self, stream: int) -> bytes:
        """The body of the response."""
        while stream not in self.ended and stream not in self.resets and self._read():
            pass
        return bytes(self.bodies.get(stream, b""))

    def wait_until_closed(self) -> None:
        while self.goodbye is None and self._read():
            pass


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture
def http2(raw: socket.socket) -> Http2Client:
    return Http2Client(raw)


def test_a_request_over_http2_is_answered(http2: Http2Client) -> None:
    stream = http2.send("POST", "/some/path?a=b", b"hello")
    assert http2.wait(stream) == b"POST hello"
    assert http2.headers[stream] == {":status": "200", "x-path": "/some/path?a=b", "content-length": "10"}


def test_streams_of_one_connection_are_answered_beside_each_other(http2: Http2Client, echo: Echo) -> None:
    # given a request that waits
    slow = http2.send("GET", "/wait")

    # when another comes, then it is answered meanwhile
    assert http2.wait(http2.send("POST", "/", b"quick")) == b"POST quick"
    assert slow not in http2.ended
    echo.let.set()
    assert http2.wait(slow) == b"GET "


def test_bodies_larger_than_the_window_go_both_ways(http2: Http2Client) -> None:
    body = bytes(range(256)) * 4 * 1024 * 20
    assert http2.wait(http2.send("POST", "/", body)) == b"POST " + body


def test_a_lost_connection_is_a_stream_that_is_reset(http2: Http2Client) -> None:
    # given a request whose connection is lost
    lost = http2.send("GET", "/lost")
    http2.wait(lost)

    # then it has no answer, and the others of the connection go on
    assert (lost in http2.headers, http2.resets) == (False, {lost: ErrorCodes.INTERNAL_ERROR})
    assert http2.wait(http2.send("POST", "/", b"next")) == b"POST next"


def test_without_the_library_the_client_is_told_to_use_http1(
    monkeypatch: pytest.MonkeyPatch, address: tuple[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        client = Http2Client(connection)
        client.send("GET", "/")
        client.wait_until_closed()
    assert client.goodbye is not None
    assert client.goodbye.error_code == ErrorCodes.HTTP_1_1_REQUIRED
    assert b"NodeHttpHandler" in (client.goodbye.additional_data or b"")
    assert "NodeHttpHandler" in capfd.readouterr().err
