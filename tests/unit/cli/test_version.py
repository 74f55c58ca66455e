"""`kapok version` says what a bug report needs."""

import json
import sys
from io import BytesIO, TextIOWrapper

import pytest

import scheduler
from scheduler.cli.entry import main
from scheduler.placement.kernel import loader as compiled


def test_the_version_says_whether_decisions_run_compiled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["version"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["kernel"] == compiled.MODE
    assert rows["kapok"] == scheduler.__version__


def test_an_interpreted_engine_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MODE", "interpreted")
    monkeypatch.setattr(compiled, "FALLBACK_REASON", "no kernel was built")
    assert main(["version", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kernel"], found["whyInterpreted"]) == ("interpreted", "no kernel was built")


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="ascii"))
    assert main(["version"]) == 0
    sys.stdout.write("站点\n")
    sys.stdout.flush()
    assert written.getvalue().endswith(b"\\u7ad9\\u70b9\n")
