"""Recorded payloads of version 1 stay readable for ever: files are added here, never edited."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.protocol.codec import Codec
from agents.protocol.delta import decode_report
from agents.protocol.diagnosis.answer import ANSWER
from agents.protocol.envelope import unseal
from agents.protocol.hub_requests import HUB_REQUEST
from agents.protocol.index import DESIRED_INDEX, digest_of
from agents.protocol.index_delta import INDEX_DELTA
from agents.protocol.keys import TrustedKeys
from agents.protocol.orders import ORDER_CONTENT
from agents.protocol.report import OFFLINE, REPORT, REPORT_DELTA
from agents.protocol.status import SITE_STATUS

GOLDEN = Path(__file__).parent / "golden"
PAYLOADS = sorted(GOLDEN.glob("payload-*.json"))
ENVELOPES = sorted(GOLDEN.glob("envelope-*.json"))
CODECS: dict[str, Codec[Any]] = {
    "report": REPORT,
    "delta": REPORT_DELTA,
    "offline": OFFLINE,
    "index": DESIRED_INDEX,
    "indexdelta": INDEX_DELTA,
    "order": ORDER_CONTENT,
    "status": SITE_STATUS,
    "hub": HUB_REQUEST,
    "answer": ANSWER,
}


def codec_for(path: Path) -> Codec[Any]:
    return CODECS[path.name.split("-")[1].removesuffix(".json")]


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_a_recorded_payload_is_read_and_written_as_it_was(path: Path) -> None:
    recorded = json.loads(path.read_text())
    codec = codec_for(path)
    assert codec.to_json(codec.decode(path.read_bytes())) == recorded


@pytest.mark.parametrize("path", ENVELOPES, ids=lambda path: path.stem)
def test_a_recorded_envelope_is_opened_and_its_payload_digest_holds(path: Path) -> None:
    recorded = json.loads(path.read_text())
    data = json.dumps(recorded["envelope"]).encode()
    payload = unseal(data, topic=recorded["topic"], trusted=TrustedKeys.parse([recorded["key"]]))
    assert digest_of(payload) == recorded["digest"]


def test_every_kind_of_message_has_a_recorded_payload() -> None:
    assert {path.name.split("-")[1].removesuffix(".json") for path in PAYLOADS} == set(CODECS)


def test_reports_and_deltas_are_told_apart_by_their_kind() -> None:
    full = decode_report((GOLDEN / "payload-report.json").read_bytes())
    change = decode_report((GOLDEN / "payload-delta.json").read_bytes())
    assert (full.kind, change.kind) == ("full", "delta")
