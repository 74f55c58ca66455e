"""Runs all checks at once, each bounded in time, and prints what they found."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from agents.config.load import AgentSettingsError, read_settings
from agents.config.rules import find_problems
from agents.config.settings import AgentSettings
from agents.doctor.cluster import examine_cluster
from agents.doctor.findings import CHECK_SECONDS, Check, DoctorFinding, error, warning
from agents.doctor.machine import examine_certificate, examine_data_dir, examine_files
from agents.doctor.network import examine_broker, examine_clock, examine_names
from agents.runtime.clock import AgentSystemClock

EXIT_GOOD: Final = 0
EXIT_NO: Final = 1
_EPILOG: Final = """examples:
  kapok-agent --config agent.yaml doctor          a table of what is wrong, and what to do
  kapok-agent --config agent.yaml doctor -o json  the same as one JSON object
  kapok-agent doctor | jq .findings               JSON too, where the output is no terminal

exit codes: 0 nothing keeps the agent from its work (there may be warnings), 1 something does"""


@dataclass(slots=True)
class _Run:
    """A check on its way."""

    check: Check
    found: list[DoctorFinding] = field(default_factory=list)
    is_done: bool = False

    def run(self) -> None:
        try:
            for finding in self.check.run():
                self.found.append(finding)
        except Exception as problem:  # noqa: BLE001 - a check that fails costs its own findings only
            what = f"{self.check.name}: {type(problem).__name__}: {str(problem)[:200]!a}"
            self.found.append(warning("", what, "report this with the output of --version"))
        self.is_done = True


def examine(config: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """The answer of `kapok-agent doctor`: `ok`, the findings, and the result of each check."""
    try:
        settings, source = read_settings(config, environment)
    except AgentSettingsError as problem:
        found = [error("", str(problem), "configs/agent.yaml is an example")]
        return _answer(found, {"settings": "error"})
    clock = AgentSystemClock()
    checks = (
        Check("settings", lambda: _examine_settings(settings, source)),
        Check("files", lambda: examine_files(settings)),
        Check("disk", lambda: examine_data_dir(settings)),
        Check("certificate", lambda: examine_certificate(settings, clock)),
        Check("dns", lambda: examine_names(settings)),
        Check("clock", lambda: examine_clock(settings, clock)),
        Check("broker", lambda: examine_broker(settings)),
        Check("cluster", lambda: examine_cluster(settings)),
    )
    return run_checks(checks)


def run_checks(checks: Sequence[Check], seconds: float = CHECK_SECONDS) -> dict[str, Any]:
    """Runs checks at once; one that is not done in time is a finding itself."""
    runs = [_Run(check) for check in checks]
    # Daemons: a system call that hangs must not keep the process from its end.
    threads = [threading.Thread(target=one.run, name=one.check.name, daemon=True) for one in runs]
    for thread in threads:
        thread.start()
    until = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))
    findings, results = [], {}
    for one in runs:
        found = list(one.found)
        if not one.is_done:
            what = f"{one.check.name}: no answer within {seconds:g} s"
            found.append(warning("", what, "check the network, and run doctor again"))
        findings += found
        results[one.check.name] = max((each.severity for each in found), key=_rank, default="ok")
    return _answer(findings, results)


def _rank(severity: str) -> int:
    return ("ok", "warning", "error").index(severity)


def _answer(findings: Sequence[DoctorFinding], checks: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ok": all(one.severity != "error" for one in findings),
        "findings": [asdict(one) for one in findings],
        "checks": dict(checks),
    }


def _examine_settings(settings: AgentSettings, source: str) -> Iterator[DoctorFinding]:
    for problem in find_problems(settings):
        yield error(problem.path, problem.text, f"change it in {source}")
    if not settings.hub_keys:
        what = "no key of a hub: no order is accepted"
        yield warning("hub_keys", what, "write the hub key that `kapok up` prints")


def render(answer: Mapping[str, Any]) -> str:
    """The answer for people: a line for each check, then what to do about each finding."""
    lines = [f"{name:<12} {result}" for name, result in answer["checks"].items()]
    for one in answer["findings"]:
        path = f"{one['path']}: " if one["path"] else ""
        text = f"{path}{one['what']}"
        lines += [
            "",
            f"{one['severity']}: {_printable(text)}",
            f"  do: {_printable(one['instead'])}",
        ]
    verdict = "nothing keeps the agent from its work" if answer["ok"] else "the agent cannot work"
    return "\n".join([*lines, "", verdict, ""])


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def main(config: Path | None, words: Sequence[str]) -> int:
    """Runs `kapok-agent doctor`.

    Args:
        config: the settings file that was named before `doctor`; None: none.
        words: what follows `doctor`.
    """
    parser = argparse.ArgumentParser(
        prog="kapok-agent doctor",
        description="Finds what would keep the agent from its work; changes and reports nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.add_argument("-o", "--output", choices=["json"], help="print one JSON object")
    arguments = parser.parse_args(words)
    answer = examine(arguments.config or config, os.environ)
    if arguments.output == "json" or not sys.stdout.isatty():
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(render(answer))
    sys.stdout.flush()
    return EXIT_GOOD if answer["ok"] else EXIT_NO
