"""Dates at the ends of time, wherever a request can have one, never fail in the server."""

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from tests.support.absurd_requests import CRDS, EVENTS, JOBS, LEASES, PODS, REVIEWS, VALID
from tests.support.api_raw import raw_client
from tests.support.widgets import widget_crd

DATES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00.000000-14:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999-14:00",
    "10000-01-01T00:00:00Z",
    "0000-12-31T00:00:00Z",
    "-0001-01-01T00:00:00Z",
]
SECONDS = [2**31 - 1, 2**31, 2**63 - 1, -(2**63), -1]
_TABLE = {
    b"Accept": b"application/json;as=Table;v=v1;g=meta.k8s.io",
    b"Content-Type": b"application/json",
}
PLACES: dict[str, list[tuple[str, ...]]] = {
    EVENTS: [
        ("lastTimestamp",),
        ("firstTimestamp",),
        ("eventTime",),
        ("series", "lastObservedTime"),
    ],
    LEASES: [("spec", "renewTime"), ("spec", "acquireTime")],
    JOBS: [("status", "startTime"), ("status", "completionTime")],
    PODS: [("status", "startTime")],
}
OF_ALL = [("metadata", "creationTimestamp"), ("metadata", "deletionTimestamp")]
OF_SECONDS: dict[str, list[tuple[str, ...]]] = {
    PODS: [
        ("metadata", "deletionGracePeriodSeconds"),
        ("spec", "terminationGracePeriodSeconds"),
        ("spec", "activeDeadlineSeconds"),
    ],
    LEASES: [("spec", "leaseDurationSeconds")],
    JOBS: [("spec", "ttlSecondsAfterFinished"), ("spec", "activeDeadlineSeconds")],
}


def _with(item: dict[str, Any], place: tuple[str, ...], value: object) -> dict[str, Any]:
    made = deepcopy(item)
    below = made
    for key in place[:-1]:
        below = below.setdefault(key, {})
    below[place[-1]] = value
    return made


def _spoiled_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, valid in VALID.items():
        if path in {CRDS, REVIEWS}:
            continue
        for place in [*PLACES.get(path, ()), *OF_ALL]:
            yield from ((path, _with(valid, place, date)) for date in DATES)
        for date in DATES:
            entry = {**valid["metadata"]["managedFields"][0], "time": date}
            yield path, _with(valid, ("metadata", "managedFields"), [entry])
        for place in OF_SECONDS.get(path, ()):
            yield from ((path, _with(valid, place, number)) for number in SECONDS)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
async def test_dates_at_the_ends_of_time_are_answered(tmp_path: Path, step: int) -> None:
    faults: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    options = ApiServerOptions(
        data_dir=tmp_path,
        crds=[widget_crd("fuzz.kapok.dev")],
        on_fault=lambda where: faults.update([where]),
    )
    async with serve(options) as server, raw_client(server) as client:
        for number, (path, item) in enumerate(islice(_spoiled_objects(), 0, None, step)):
            named = _with(item, ("metadata", "name"), f"n{number}")
            one = f"{path}/n{number}".encode()
            body = json.dumps(named).encode()
            requests = [(b"POST", path.encode(), body)]
            if "status" in named:
                requests.append((b"PUT", one + b"/status", body))
            grace = b"?gracePeriodSeconds=%d" % SECONDS[number % len(SECONDS)]
            requests += [(b"GET", one, b""), (b"DELETE", one + grace, b""), (b"DELETE", one, b"")]
            for method, target, sent in requests:
                answer = await client.request(method, target, sent, _TABLE)
                assert answer.code < 500, (method, target, sent, answer.body)
                codes[answer.code] += 1
        for path in VALID:
            if path not in {CRDS, REVIEWS}:
                answer = await client.request(b"GET", path.encode(), headers=_TABLE)
                assert answer.code == 200, (path, answer.body)
    assert not faults
    assert codes[201] > 20
