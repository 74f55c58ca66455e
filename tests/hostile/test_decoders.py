"""What arrives as bytes is read or refused by the decoder's own error, quickly, whatever it is."""

import copy
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from agents.protocol.delta import decode_report
from agents.protocol.diagnosis.answer import ANSWER
from agents.protocol.envelope import seal, unseal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import HUB_REQUEST
from agents.protocol.index import DESIRED_INDEX
from agents.protocol.index_delta import INDEX_DELTA
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import ORDER_CONTENT
from agents.protocol.report import OFFLINE
from agents.protocol.status import SITE_STATUS
from scheduler.apiserver.base.yaml_values import NotYamlValue, load_yaml
from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents
from scheduler.model.decode import NotReadable, decode
from tests.support.up import ROOT

GOLDEN = ROOT / "tests/unit/agents/protocol/golden"
SAMPLES = ROOT / "manifests/samples"
GATE_INPUTS, SOAK_INPUTS = 2_000, 1_000_000
MAX_SECONDS = 0.25
"""The processor time that one input may take."""
KEY = SigningKey(bytes(range(32)))
TRUSTED = TrustedKeys([KEY.public])
TOPIC = "kapok/v1/site-a/report"

Decoder = Callable[[bytes], object]


def _golden(*names: str) -> list[bytes]:
    return [(GOLDEN / f"{name}.json").read_bytes() for name in names]


def _samples() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.rglob("*.yaml"))]


def _objects() -> list[bytes]:
    texts = (path.read_text(encoding="utf-8") for path in sorted(SAMPLES.rglob("*.yaml")))
    return [
        json.dumps(one.value).encode()
        for text in texts
        for one in load_documents(text)
        if isinstance(one.value, dict)
    ]


def _read_documents(data: bytes) -> object:
    return list(load_documents(data.decode("utf-8", errors="replace")))


def _read_object(data: bytes) -> object:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None  # not the decoder of objects: the API server has refused it
    return decode(tree, allow_unknown=True) if isinstance(tree, dict) else None


DECODERS: dict[str, tuple[Decoder, type[Exception], Callable[[], list[bytes]]]] = {
    "report": (
        decode_report,
        WireError,
        lambda: _golden("payload-report", "payload-report-namespaces", "payload-delta"),
    ),
    "status": (
        SITE_STATUS.decode,
        WireError,
        lambda: _golden("payload-status", "payload-status-kept", "payload-status-deltas"),
    ),
    "answer": (ANSWER.decode, WireError, lambda: _golden("payload-answer")),
    "offline": (OFFLINE.decode, WireError, lambda: _golden("payload-offline")),
    "index": (
        DESIRED_INDEX.decode,
        WireError,
        lambda: _golden("payload-index", "payload-index-purge", "payload-index-base"),
    ),
    "index delta": (INDEX_DELTA.decode, WireError, lambda: _golden("payload-indexdelta")),
    "order": (ORDER_CONTENT.decode, WireError, lambda: _golden("payload-order")),
    "hub request": (
        HUB_REQUEST.decode,
        WireError,
        lambda: _golden("payload-hub", "payload-hub-nonce"),
    ),
    "envelope": (
        lambda data: unseal(data, topic=TOPIC, trusted=TRUSTED),
        WireError,
        lambda: [seal(one, topic=TOPIC, key=KEY) for one in _golden("payload-report")],
    ),
    "yaml body": (load_yaml, NotYamlValue, _samples),
    "manifest file": (_read_documents, YamlDocumentError, _samples),
    "object": (_read_object, NotReadable, _objects),
}

ABSURD: list[Any] = [
    None, True, -1, 0, 2**31, 2**53, 2**63, 2**64, -(2**70), 1e308, 0.1, "", "x" * 300, "\x00",
    "\u202e", "1e309", "8Ei", "-1", "NaN", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z",
    [], {}, [[]] * 50, {"": {}}, {"a" * 2000: 1},
]  # fmt: skip


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A broken copy of an input: bytes that differ, or values that no honest sender writes."""
    if chance.random() < 0.5:
        return _with_other_bytes(seed, chance)
    try:
        tree = json.loads(seed)
    except ValueError:
        return _with_other_bytes(seed, chance)
    for _ in range(chance.randrange(1, 4)):
        tree = _with_other_value(tree, chance, is_root=chance.random() < 0.98)
    return json.dumps(tree).encode("utf-8", errors="replace")


def _with_other_bytes(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(32, 128)])
            case 1:
                del data[at : at + chance.randrange(1, 30)]
            case 2:
                data[at:at] = data[: chance.randrange(1, 60)]
            case _:
                data[at:at] = chance.choice((b"{", b"[" * 300, b'"', b"\xff", b": &a *a", b"1e999"))
    return bytes(data)


def _with_other_value(tree: Any, chance: random.Random, *, is_root: bool = False) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(tree, dict) and tree and (is_root or chance.random() < 0.85):
        key = chance.choice(list(tree))
        if chance.random() < 0.05:
            return {name: value for name, value in tree.items() if name != key}
        return {**tree, key: _with_other_value(tree[key], chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.85:
        at = chance.randrange(len(tree))
        return [*tree[:at], _with_other_value(tree[at], chance), *tree[at + 1 :]]
    return copy.deepcopy(chance.choice(ABSURD))


def attack(name: str, inputs: int, *, seed: int) -> dict[str, float]:
    """Feeds a decoder broken inputs; returns how many it read, refused, and the longest time."""
    decoder, error_type, seeds = DECODERS[name]
    chance, examples = random.Random(seed), seeds()  # noqa: S311 - a test, seeded
    read = refused = 0
    longest = 0.0
    for _ in range(inputs):
        data = mutated(chance.choice(examples), chance)
        begin = time.thread_time()
        try:
            decoder(data)
            read += 1
        except error_type:
            refused += 1
        except Exception as error:  # noqa: BLE001 - what the test looks for
            pytest.fail(f"{name}: {type(error).__name__}: {error} for {data[:2000]!r}")
        longest = max(longest, time.thread_time() - begin)
    return {"read": read, "refused": refused, "longest_seconds": longest}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DECODERS)
def test_broken_inputs_are_read_or_refused_by_the_decoders_own_error(name: str) -> None:
    found = attack(name, GATE_INPUTS // (10 if name in SLOW else 1), seed=1)
    assert found["read"] + found["refused"] > 0
    assert found["refused"] > 0


SLOW = {"yaml body", "manifest file"}
"""Decoders whose examples are whole files: the gate feeds them fewer inputs."""


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DECODERS)
def test_a_million_broken_inputs_are_each_read_or_refused_in_a_quarter_of_a_second(
    name: str,
) -> None:
    found = attack(name, SOAK_INPUTS, seed=2)
    print(json.dumps({"decoder": name, "inputs": SOAK_INPUTS, **found}))  # noqa: T201 - a line of the soak
    assert found["longest_seconds"] < MAX_SECONDS
