"""The hub's key is replaced under real agents, one of which is away meanwhile."""

from pathlib import Path

import pytest

from tests.support.joined_city import machine, operator, running_agent, settings_with
from tests.support.up import Up, eventually

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


def is_ready(up: Up, name: str) -> bool:
    conditions = up.get("site", name).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def join(up: Up, folder: Path, name: str) -> None:
    line = operator(up, "site", "join", name, "-o", "json").json["line"]
    joined = machine(folder, line.split()[-1])
    assert joined.code == 0, joined.said


def keys(up: Up, *words: str) -> dict[str, object]:
    done = operator(up, "keys", *words, "-o", "json")
    assert done.code == 0, done.said
    return done.json


def test_agents_follow_the_key_and_one_that_was_away_too(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0")
    (tmp_path / "hub").mkdir()
    up = Up(tmp_path / "hub", settings=settings_with(), options=options).start()
    try:
        join(up, tmp_path / "here", "here")
        join(up, tmp_path / "away", "away")
        with running_agent(tmp_path / "here"):
            rotated = keys(up, "rotate")
            assert rotated["next"] not in (None, rotated["signing"])
            eventually(lambda: keys(up, "show")["waiting"] == ["away"], within_seconds=60)
            refused = operator(up, "keys", "rotate", "--finish")
            assert refused.code == 1
            assert "away" in refused.said
            up.stop()
            finished = keys(up, "rotate", "--finish", "--force")
            assert finished["signing"] == rotated["next"]
            assert finished["previous"] == rotated["signing"]
            up.start()
            assert up.ready["hubKey"] == rotated["next"]
            eventually(lambda: is_ready(up, "here"), within_seconds=60)
            with running_agent(tmp_path / "away"):  # it knows the old key alone
                eventually(lambda: keys(up, "show")["waiting"] == [], within_seconds=60)
                retired = keys(up, "rotate", "--retire")
                assert retired["announced"] == [rotated["next"]]
                assert retired["previous"] is None
                eventually(lambda: keys(up, "show")["waiting"] == [], within_seconds=60)
    finally:
        up.kill()
