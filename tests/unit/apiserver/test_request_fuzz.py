"""Absurd requests on a real server: each is answered in time, and none is a fault of the server."""

import json
import logging
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from tests.support.absurd_requests import CRDS, METHODS, REVIEWS, VALID, absurd_request
from tests.support.api_raw import RawAnswer, RawClient, raw_client
from tests.support.widgets import widget_crd

_MAX_SECONDS = 0.25
_SLOW_MACHINE_SECONDS = 1.0
"""The gate shares two cores with other tests; the soak runs alone and uses the real limit."""


def _is_server_error(answer: RawAnswer) -> bool:
    if answer.code == 504:  # "Too large resource version", as a real server responds
        causes = answer.json.get("details", {}).get("causes", [{}])
        return bool(causes[0].get("reason") != "ResourceVersionTooLarge")
    return answer.code >= 500


async def _fuzz(
    folder: Path, chance: random.Random, count: int, max_seconds: float
) -> "Counter[int]":
    """Sends `count` requests; returns the status codes. Fails with the first wrong response."""
    faults: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    options = ApiServerOptions(
        data_dir=folder,
        crds=[widget_crd("fuzz.kapok.dev")],
        on_fault=lambda where: faults.update([where]),
    )
    async with serve(options) as server, raw_client(server) as client:
        for number in range(count):
            path = chance.choice(list(VALID))
            if number % 20 == 0:
                await _create_bases(client)
            method = chance.choice([*METHODS, *(b"POST", b"PUT", b"PATCH", b"PATCH") * 3])
            if path == CRDS and method == b"DELETE":
                method = b"POST"  # the kinds of this test have to stay
            sent, headers = absurd_request(chance, path, method)
            answer = await client.request(*sent, headers)
            told = (answer.code, answer.body[:500], f"{answer.seconds:.3f} s", sent, headers)
            assert not _is_server_error(answer), told
            assert answer.seconds < max_seconds, told
            codes[answer.code] += 1
    assert not faults
    return codes


async def _create_bases(client: RawClient) -> None:
    for path, valid in VALID.items():
        if path in {CRDS, REVIEWS}:
            continue
        meta = {"name": "base", "namespace": "default", "labels": {"a": "b"}}
        item = json.dumps({**valid, "metadata": meta}).encode()
        answer = await client.request(b"POST", path.encode(), item)
        assert answer.code in {201, 409}, (path, answer)


async def test_absurd_requests_are_4xx_and_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = await _fuzz(tmp_path, random.Random(11), 800, _SLOW_MACHINE_SECONDS)  # noqa: S311 - a repeatable test
    assert codes[400] > 50
    assert codes[200] + codes[201] > 25
    _check_no_exception_logged(caplog.records)


@pytest.mark.soak
async def test_50_000_absurd_requests_are_4xx_and_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(json.dumps({"attack": "absurd requests", "seed": seed}) + "\n")
    codes = await _fuzz(tmp_path, random.Random(seed), 50_000, _MAX_SECONDS)  # noqa: S311 - a repeatable test
    _check_no_exception_logged(caplog.records)
    line = {"attack": "absurd requests", "expected": "no 5xx", "got": dict(sorted(codes.items()))}
    sys.stdout.write(json.dumps(line) + "\n")


def _check_no_exception_logged(records: list[logging.LogRecord]) -> None:
    assert [one.getMessage() for one in records if one.levelno >= logging.ERROR] == []
