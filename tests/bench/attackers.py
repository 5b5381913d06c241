"""Callers nobody wants, each a program of its own: ``python -m tests.bench.attackers KIND …``.

Plain sockets, as fast as they go. Each prints as JSON how often it was turned away, and the reason
it was given first.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from websockets.frames import Frame, Opcode

from tests.agent.gateway.blunt import HANDSHAKE, close_frame, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START: Final = wire(Frame(Opcode.TEXT, b'{"type":"start","sample_rate":16000}'))
_AUDIO: Final = wire(Frame(Opcode.BINARY, bytes(640))) * 400
_PINGS: Final = wire(Frame(Opcode.PING, b"")) * 40_000
_LONGEST: Final = ("friday " * 600)[:4000]
"""What the example took longest to understand, as long as a turn may be."""
_WITHIN: Final = _LONGEST[:330]
"""As much as may be typed each second, for as long as a call may last."""

Address = tuple[str, int]


def _connect(address: Address) -> socket.socket:
    stream = socket.create_connection(address)
    stream.sendall(HANDSHAKE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += stream.recv(1)
    return stream


def _reasons(stream: socket.socket, found: Counter[str]) -> None:
    """Read what the gateway says; how it closes is counted."""
    received = bytearray()
    close = None
    with suppress(OSError):
        while close is None and (data := stream.recv(65_536)):
            received += data
            close = close_frame(received)
    found["no reason" if close is None else f"{close.code} {close.reason}"] += 1


def _call(address: Address, said: Callable[[], Iterator[bytes]], found: Counter[str]) -> None:
    """One connection, until it is closed."""
    with closing(_connect(address)) as stream:
        reader = threading.Thread(target=_reasons, args=(stream, found), daemon=True)
        reader.start()
        with suppress(OSError):
            for data in said():
                stream.sendall(data)
        reader.join(5)


def _flood(first: bytes, data: bytes) -> Callable[[], Iterator[bytes]]:
    def said() -> Iterator[bytes]:
        yield first
        while True:
            yield data

    return said


def _typing(text: str) -> Callable[[], Iterator[bytes]]:
    turn = wire(Frame(Opcode.TEXT, json.dumps({"type": "text", "text": text}).encode()))

    def said() -> Iterator[bytes]:
        yield _START
        time.sleep(1)
        while True:
            yield turn
            time.sleep(1.01)

    return said


def strangers(address: Address, found: Counter[str]) -> None:
    """Two hundred sockets that never say ``start``, and one that does: is it taken?"""
    held = [_connect(address) for _ in range(200)]
    with closing(_connect(address)) as caller:
        caller.sendall(_START)
        started = b"started" in caller.recv(4096)
    found[f"a caller beside 200 strangers is {'taken' if started else 'KEPT OUT'}"] += 1
    _reasons(held[0], found)
    for stream in held:
        stream.close()
    time.sleep(1)


def _answer(stream: socket.socket) -> str:
    with suppress(OSError):
        return stream.recv(4096).partition(b"\r\n")[0].decode() or "closed"
    return "closed"


def body(address: Address, found: Counter[str]) -> None:
    """300 MB for a booking."""
    with closing(socket.create_connection(address)) as stream:
        head = b"POST /reservations HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n"
        stream.sendall(head)
        with suppress(OSError):
            for _ in range(4600):
                stream.sendall(bytes(65_536))
        found[_answer(stream)] += 1


def slow(address: Address, found: Counter[str]) -> None:
    """Four hundred sockets with half a head."""
    held = [socket.create_connection(address) for _ in range(400)]
    for stream in held:
        with suppress(OSError):
            stream.sendall(b"GET /hours HTTP/1.1\r\nHost:")
    for stream in held:
        found[_answer(stream)] += 1
        stream.close()


def locked(address: Address, found: Counter[str], book: str) -> None:
    """Fifty bookings at once in a book that somebody else has locked."""
    content = b'{"name": "A", "date": "2099-01-05", "time": "19:30", "party": 2}'
    head = f"POST /reservations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with closing(sqlite3.connect(book, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = [socket.create_connection(address) for _ in range(50)]
        for stream in asked:
            stream.sendall(head.encode() + content)
        for stream in asked:
            found[_answer(stream)] += 1
            stream.close()
        other.execute("ROLLBACK")


def attack(kind: str, gateway: Address, service: Address, book: str, found: Counter[str]) -> None:
    """Attack once: until it is over, or turned away."""
    match kind:
        case "audio":
            _call(gateway, _flood(_START, _AUDIO), found)
        case "pings":
            _call(gateway, _flood(b"", _PINGS), found)
        case "typed":
            _call(gateway, _typing(_LONGEST), found)
        case "typed within limits":
            _call(gateway, _typing(_WITHIN), found)
        case "strangers":
            strangers(gateway, found)
        case "body":
            body(service, found)
        case "slow sockets":
            slow(service, found)
        case _:
            locked(service, found, book)


KINDS: Final = (
    *("audio", "pings", "typed", "typed within limits", "strangers"),
    *("body", "slow sockets", "locked book"),
)


def main() -> None:
    """Attack again and again, for so many seconds."""
    kind, gateway, service, book, seconds = sys.argv[1:]
    os.nice(10)  # an attacker has a machine of its own
    found: Counter[str] = Counter()

    def persist() -> None:
        while True:
            with suppress(OSError):
                attack(kind, _address(gateway), _address(service), book, found)
            time.sleep(0.5)

    threading.Thread(target=persist, daemon=True).start()
    time.sleep(float(seconds))
    sys.stdout.write(json.dumps(found) + "\n")


def _address(url: str) -> Address:
    host, port = url.rpartition("/")[2].split(":")
    return host, int(port)


if __name__ == "__main__":
    main()
