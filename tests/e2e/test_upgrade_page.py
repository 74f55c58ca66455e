"""docs/upgrade.md is followed from an earlier version, whose programs the history has, and back.

Hub, agent, ledger and journal are written by the earlier version itself: it follows the tutorial.
Where the page installs a version, the programs of that version run from then on.
"""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.console_blocks import Command, Step, Stop, steps_in
from tests.support.document_session import Reader, reader
from tests.support.tools import require_tool, skip_or_fail
from tests.support.up import ROOT

WRITERS = ("2be0bdb", "0c9d5e6")
"""The commits that wrote `tests/golden/step-12` and `step-13`; before these no site joined."""

AGENT = Command("kapok-agent --config edge-1/agent.yaml", until="this agent holds the site's lease")
REPORTS = Command("kapok get sites", ("edge-1 True edge CN-GD …",))
VERIFIED = Command("kapok ledger verify", ("… records verified, none was changed",))

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(900)]


def tree_of(commit: str, folder: Path) -> Path:
    """The files of a commit, in a folder of their own."""
    git = require_tool("git")
    packed = subprocess.run(
        [git, "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=False
    )
    if packed.returncode:
        skip_or_fail(f"the history has no {commit}: a whole clone has it")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def parts(page: str) -> dict[str, list[Step]]:
    """The steps of a page by its headings, in their order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _top, *rest = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {title: list(steps_in(body)) for title, body in zip(rest[::2], rest[1::2], strict=True)}


def running(replicas: int) -> Command:
    """What the reader sees where all replicas run."""
    line = f"health portal Running general-2 edge-1 ({replicas}) {replicas}/{replicas} …"
    return Command("kapok get workloads", (line,))


def deployment(one: Reader) -> str:
    """The Deployment at the site: its uid is another one if it has been made again."""
    config = "--kubeconfig members/edge-1/kubeconfig"
    one.follow([Command(f"kubectl {config} get deployment portal -n health -o json > found.json")])
    found = json.loads((one.folder / "found.json").read_text())
    return str(found["metadata"]["uid"])


@contextmanager
def installed(commit: str, folder: Path) -> Iterator[Reader]:
    """A reader with an earlier version, who has followed the tutorial up to the placed workload."""
    earlier = tree_of(commit, folder / "earlier")
    (folder / "reader").mkdir()
    with reader(folder / "reader") as one:
        one.tree = earlier
        tutorial = parts("tutorial.md")
        for title in list(tutorial)[1 : list(tutorial).index("Ask why")]:
            one.follow(tutorial[title])
        yield one


@pytest.mark.parametrize("commit", WRITERS)
def test_what_runs_survives_the_upgrade_and_the_way_back(commit: str, tmp_path: Path) -> None:
    page = parts("upgrade.md")
    assert list(page) == ["Before", "1. The kinds", "2. The hub", "3. The agents", "The way back"]
    with installed(commit, tmp_path) as one:
        earlier, uid = one.tree, deployment(one)
        one.follow([*page["Before"], *page["1. The kinds"]])
        one.tree = ROOT
        one.follow([*page["2. The hub"], running(2), REPORTS])
        one.follow([*page["3. The agents"], Stop(AGENT.words), AGENT, running(2), VERIFIED])
        one.tree = earlier
        one.follow([*page["The way back"], running(2), REPORTS, VERIFIED])
        assert deployment(one) == uid
