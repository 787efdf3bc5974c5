"""An S3 server of its own process, and a proxy before it that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Run moto's server on a free port of loopback; yield the port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MOTO_"))},
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
        yield port
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, "moto.server has ended"
            assert time.monotonic() < end
            time.sleep(0.05)


CODES = {401: b"InvalidAccessKeyId", 403: b"AccessDenied", 500: b"InternalError"}


@dataclass(frozen=True)
class Request:
    """A request as the proxy sees it; `number` counts those of one method, from 1."""

    method: str
    path: str
    number: int


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of what should.

    Attributes:
      status: Answer with this, and do not ask the server.
      cut_request: Cut the connection when that many bytes of the body are through to the server.
      cut_answer: Cut it when that many bytes of the answer, with its head, are through.
      pause: Seconds before the answer, or, with `piece`, before each piece of it.
      piece: Bytes.
    """

    status: int = 0
    cut_request: int | None = None
    cut_answer: int | None = None
    pause: float = 0.0
    piece: int = 0


Plan = Callable[[Request], Fault | None]


@dataclass
class Flaky:
    """A proxy before a server: one connection a request, faults by plan."""

    server: int
    plan: Plan = lambda request: None
    seen: list[Request] = field(default_factory=list)
    faults: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL takes."""
        return f"http://127.0.0.1:{self.port}"

    def follow(self, plan: Plan) -> None:
        """Forget what was, and go by another plan."""
        with self._lock:
            self.plan, self.seen, self.faults = plan, [], 0

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head, body = _head(client)
            if not head:
                return
            method, path, *_ = head.split(b"\r\n")[0].decode().split(" ")
            with self._lock:
                number = 1 + sum(one.method == method for one in self.seen)
                request = Request(method, path, number)
                self.seen.append(request)
                fault = self.plan(request)
                self.faults += fault is not None
            self._answer(client, head, body, fault or Fault(), bodyless=method == "HEAD")

    def _answer(
        self, client: socket.socket, head: bytes, body: bytes, fault: Fault, *, bodyless: bool
    ) -> None:
        if fault.status:
            _drain(client, head, body)
            code = CODES.get(fault.status, b"SlowDown")
            text = b"<Error><Code>%s</Code><Message>Not now.</Message></Error>" % code
            client.sendall(
                b"HTTP/1.1 %d Fault\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n%s"
                % (fault.status, len(text), b"" if bodyless else text)
            )
            return
        with socket.create_connection(("127.0.0.1", self.server)) as server:
            server.sendall(_alone(head))
            if not _send_body(client, server, head, body, fault.cut_request):
                return
            _pass_on(server, client, fault)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return b"", b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def _fields(head: bytes) -> dict[bytes, bytes]:
    rows = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in rows}


def _alone(head: bytes) -> bytes:
    """Ask for an answer after which the server closes the connection."""
    dropped = (b"connection:", b"expect:")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(dropped)]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"


def _body(client: socket.socket, head: bytes, body: bytes) -> Iterator[bytes]:
    fields = _fields(head)
    if b"expect" in fields:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if fields.get(b"transfer-encoding") == b"chunked":
        yield body
        tail = body[-5:]
        while not tail.endswith(b"0\r\n\r\n"):
            piece = client.recv(65536)
            if not piece:
                return
            tail = (tail + piece)[-5:]
            yield piece
        return
    left = int(fields.get(b"content-length", b"0")) - len(body)
    yield body
    while left > 0:
        piece = client.recv(min(left, 65536))
        if not piece:
            return
        left -= len(piece)
        yield piece


def _drain(client: socket.socket, head: bytes, body: bytes) -> None:
    for _ in _body(client, head, body):
        pass


def _send_body(
    client: socket.socket, server: socket.socket, head: bytes, body: bytes, cut: int | None
) -> bool:
    sent = 0
    for piece in _body(client, head, body):
        if cut is not None and sent + len(piece) >= cut:
            server.sendall(piece[: cut - sent])
            return False
        server.sendall(piece)
        sent += len(piece)
    return True


def _pass_on(server: socket.socket, client: socket.socket, fault: Fault) -> None:
    if fault.pause and not fault.piece:
        time.sleep(fault.pause)
    sent = 0
    while piece := server.recv(fault.piece or 65536):
        if fault.piece:
            time.sleep(fault.pause)
        if fault.cut_answer is not None and sent + len(piece) > fault.cut_answer:
            client.sendall(piece[: fault.cut_answer - sent])
            # Not an orderly end: what the client has not read is lost, as with a cut line.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        client.sendall(piece)
        sent += len(piece)
