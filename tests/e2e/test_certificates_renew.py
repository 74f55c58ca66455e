"""Certificates of 40 seconds, over several lives: agent, broker and scheduler renew them."""

import time
from pathlib import Path

import pytest

from tests.support.joined_city import machine, operator, running_agent, settings_with
from tests.support.up import Up, eventually

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
LIFE_SECONDS = 40


def is_ready(up: Up) -> bool:
    conditions = up.get("site", "gz-edge").get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_short_certificates_renew_and_a_machine_that_was_off_comes_back(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0")
    (tmp_path / "hub").mkdir()
    up = Up(tmp_path / "hub", settings=settings_with(LIFE_SECONDS), options=options).start()
    certificate, server = tmp_path / "m/data/tls.crt", up.data_dir / "certificates/broker.crt"
    try:
        line = operator(up, "site", "join", "gz-edge", "-o", "json").json["line"]
        assert machine(tmp_path / "m", line.split()[-1]).code == 0
        first, first_server = certificate.read_bytes(), server.read_bytes()
        with running_agent(tmp_path / "m"):
            eventually(lambda: certificate.read_bytes() != first, within_seconds=90)
            eventually(lambda: server.read_bytes() != first_server, within_seconds=90)
        before = certificate.read_bytes()
        time.sleep(LIFE_SECONDS + 10)  # noqa: TID251 - the certificate of a machine that is off ends
        with running_agent(tmp_path / "m"):
            eventually(lambda: certificate.read_bytes() != before, within_seconds=90)
            eventually(lambda: is_ready(up), within_seconds=90)
    finally:
        up.kill()
