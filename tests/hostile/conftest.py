"""What the soak prints of the attacks: one JSON line each, {attack, expected, got}."""

import ast
import json
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table of attacks after `make soak`."""
    if terminalreporter.config.option.markexpr != "soak":
        return
    reports = [
        report
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, [])
        if isinstance(report, pytest.TestReport) and report.nodeid.startswith("tests/hostile/")
        if report.when == "call" or outcome == "error"
    ]
    if reports:
        terminalreporter.section("attacks")
    for report in reports:
        terminalreporter.write_line(json.dumps(_row_of(report), ensure_ascii=False))


def _row_of(report: pytest.TestReport) -> dict[str, str]:
    path, _, name = report.nodeid.partition("::")
    test, _, case = name.partition("[")
    sentence = test.removeprefix("test_").replace("_", " ")
    got = "as expected"
    if not report.passed:
        lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
        got = lines[0].removeprefix("E").strip() if lines else report.outcome
    about = _first_sentence(path)
    return {
        "attack": f"{about} {case.removesuffix(']')}".strip(),
        "expected": sentence,
        "got": got[:300],
    }


@cache
def _first_sentence(path: str) -> str:
    """What the attacks of a module are about: the first line of its docstring."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or path).partition("\n")[0]
