"""What every run of the tests prints at its end: how long each folder took."""

from collections import defaultdict
from pathlib import PurePosixPath

import pytest

_FOLDER_DEPTH = 3
"""`tests/unit/placement`: deeper folders are added to these."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the seconds that tests took, summed by folder, the slowest first."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = PurePosixPath(report.nodeid.partition("::")[0]).parent
                seconds["/".join(folder.parts[:_FOLDER_DEPTH])] += report.duration
    if not seconds:
        return
    terminalreporter.section("seconds per folder")
    for name, total in sorted(seconds.items(), key=lambda each: -each[1]):
        terminalreporter.write_line(f"{total:8.1f}s {name}")
