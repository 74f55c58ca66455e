"""The sending process of `flood`: prepares all messages, waits for a line, sends them at a rate.

Messages are prepared and signed before the clock starts, because signing takes longer than sending.
Runs as `python -m benchmarks._flood_sender CASE PORT KEY_HEX RATE SECONDS`.
"""

import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, cycle, islice

from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.topics import site_topic

FLOODER = "flooder"
MAX_MESSAGE_BYTES = 1_000_000  # the embedded broker's limit is 1 MiB for a packet
_SIGNED_NAMES = 200

Messages = Iterator[tuple[str, bytes]]


def valid_reports(key: SigningKey, kind: str = "full") -> Messages:
    """Reports of the flooding site, each newer than the one before."""
    for sequence in count(1):
        yield _sealed(key, "report", _report(FLOODER, sequence, kind=kind))


def deltas(key: SigningKey) -> Messages:
    """One full report, and deltas of it."""
    yield from islice(valid_reports(key), 1)
    for sequence in count(2):
        fields = {"kind": "delta", "base": 1, "power": {"watts": sequence, "origin": "measured"}}
        yield _sealed(key, "report", {**_header(FLOODER, sequence), **fields})


def statuses(key: SigningKey) -> Messages:
    """Statuses of the flooding site with 100 orders each."""
    orders = [{"id": f"hub/default/w{n}/x", "generation": 1, "phase": "Ready"} for n in range(100)]
    for sequence in count(1):
        fields = {"orders": orders, "missing": [], "isExecuting": True}
        yield _sealed(key, "status", {**_header(FLOODER, sequence), **fields})


def garbage(_key: SigningKey) -> Messages:
    """Random bytes on the topic of the flooding site."""
    chance = random.Random(0)  # noqa: S311 - a benchmark, seeded
    return ((site_topic(FLOODER, "report"), chance.randbytes(800)) for _ in count())


def wrong_signatures(key: SigningKey, site: str = FLOODER) -> Messages:
    """Reports with the right key id, whose signature does not match."""
    for topic, message in _repeated(valid_reports(key), site):
        yield topic, message.replace(b'"signature":"', b'"signature":"AAAA', 1)


def huge_messages(key: SigningKey) -> Messages:
    """Signed messages as large as the embedded broker passes on, with text that is ignored."""
    chance = random.Random(0)  # noqa: S311 - a benchmark, seeded
    filler = chance.randbytes(MAX_MESSAGE_BYTES * 3 // 8).hex()[: MAX_MESSAGE_BYTES * 3 // 4]
    for sequence in count(1):
        tree = {**_report(FLOODER, sequence), "filler": filler}
        yield _sealed(key, "report", tree, is_deflated=False)


def unknown_sites(_key: SigningKey) -> Messages:
    """Reports of sites without a Site object, each properly signed with a key of its own."""
    made = []
    for number in range(_SIGNED_NAMES):
        site, key = f"unknown-{number}", SigningKey.generate()
        topic = site_topic(site, "report")
        data = json.dumps(_report(site, 1)).encode()
        made.append((topic, seal(data, topic=topic, key=key, includes_public_key=True)))
    return cycle(made)


def many_topics(key: SigningKey) -> Messages:
    """The same message on ever new topics."""
    _, message = next(valid_reports(key))
    return ((site_topic(f"topic-{number}", "report"), message) for number in count())


CASES: dict[str, Callable[[SigningKey], Messages]] = {
    "valid reports": valid_reports,
    "deltas": deltas,
    "statuses": statuses,
    "garbage": garbage,
    "wrong signatures": wrong_signatures,
    "huge messages": huge_messages,
    "unknown sites": unknown_sites,
    "many topics": many_topics,
}


def _header(site: str, sequence: int) -> dict[str, object]:
    return {
        "site": site,
        "bootId": "flood",
        "bootNumber": 1,
        "sequence": sequence,
        "observedSecondsAgo": 0.0,
    }


def _report(site: str, sequence: int, *, kind: str = "full") -> dict[str, object]:
    free = {"count": 4, "cpu": str(1 + sequence % 8), "memory": "64Gi", "pods": 100}
    return {
        **_header(site, sequence),
        "kind": kind,
        "nodeClasses": [{"architecture": "arm64", "free": [free]}],
        "executor": {"isActive": True},
    }


def _sealed(
    key: SigningKey, kind: str, tree: dict[str, object], *, is_deflated: bool = True
) -> tuple[str, bytes]:
    topic = site_topic(FLOODER, kind)  # type: ignore[arg-type]
    data = json.dumps(tree, separators=(",", ":"), sort_keys=True).encode()
    return topic, seal(data, topic=topic, key=key, encoding=None if is_deflated else "json")


def _repeated(messages: Messages, site: str) -> Messages:
    """200 messages over and over, on the report topic of a site."""
    made = [(site_topic(site, "report"), message) for _, message in islice(messages, 200)]
    return cycle(made)


def _packet(head: int, body: bytes) -> bytes:
    length, size = len(body), b""
    while True:
        length, byte = divmod(length, 128)
        size += bytes([byte | (128 if length else 0)])
        if not length:
            return bytes([head]) + size + body


def _publish(topic: str, payload: bytes) -> bytes:
    name = topic.encode()
    return _packet(0x30, struct.pack("!H", len(name)) + name + b"\x00" + payload)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    client_id = b"flooder"
    head = b"\x00\x04MQTT\x05\x02\x02\x58\x00" + struct.pack("!H", len(client_id))
    connection.sendall(_packet(0x10, head + client_id))
    connection.recv(256)

    def discard() -> None:
        with suppress(OSError):
            while connection.recv(65536):
                pass

    threading.Thread(target=discard, daemon=True).start()
    return connection


def _prepare(case: str, key: SigningKey, rate: float, seconds: float) -> list[bytes]:
    """The packets; those of an endless sequence are sent once each, large ones in a loop."""
    total = int(rate * seconds)
    if case == "huge messages":
        total = min(total, 40)
    return [_publish(*one) for one in islice(CASES[case](key), total)]


def main(words: list[str]) -> None:
    """Prepares, waits for a line on stdin, sends, and prints how many messages were sent."""
    case, port, key_hex, rate, seconds = words
    key = SigningKey(bytes.fromhex(key_hex))
    packets = _prepare(case, key, float(rate), float(seconds))
    connection = _connect(int(port))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    started, sent = time.monotonic(), 0
    with suppress(OSError):  # a broker may close the connection
        while (elapsed := time.monotonic() - started) < float(seconds):
            due = min(int(elapsed * float(rate)), sent + 200)
            if due == sent:
                time.sleep(0.001)  # noqa: TID251 - paces a process of its own
                continue
            connection.sendall(b"".join(packets[n % len(packets)] for n in range(sent, due)))
            sent = due
    sys.stdout.write(f"{sent}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
