"""`kapok-agent upgrade`: whatever the new version does, one version runs and the data is whole."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from agents.config.load import load_settings
from agents.protocol.hub_trust.archive_signature import sign_archive
from agents.protocol.keys import SigningKey
from agents.upgrade.archive import UpgradeError
from agents.upgrade.replace import Upgrade, go_back
from agents.upgrade.service import Service
from agents.upgrade.versions import Versions
from tests.support import systemctl_double
from tests.support.member_clusters import wait_until
from tests.support.tools import require_tool
from tests.support.up import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REAL = f'#!/bin/sh\nexport PYTHONPATH={ROOT}\nexec {sys.executable} -m agents.cli "$@"\n'
ONLY_CHECKS = f'#!/bin/sh\nexport PYTHONPATH={ROOT}\ncase "$*" in *self-check*) exit 0 ;; esac\n'
CRASHES = ONLY_CHECKS + "echo broken >&2; exit 3\n"
SILENT = ONLY_CHECKS + "exec sleep 60\n"
NO_START = "#!/bin/sh\necho 'ImportError: no module' >&2; exit 1\n"
NEWER_JOURNAL = (
    f'#!/bin/sh\nexec {sys.executable} -c "import sqlite3, sys; '
    "sqlite3.connect(sys.argv[-1] + '/journal.sqlite').execute('PRAGMA user_version = 99')\" "
    'x "$@"\n'
)
INSTALLER = """#!/bin/sh
target=$2/versions/%s
mkdir -p "$target/bin" && cp "$(dirname "$0")/kapok-agent" "$target/bin/"
chmod 755 "$target/bin/kapok-agent"
echo "$target"
"""
HUB = SigningKey(b"h" * 32)


def archive(folder: Path, version: str, program: str, **more: bytes) -> Path:
    path = folder / f"{version}.tar.gz"
    files = {"install.sh": (INSTALLER % version).encode(), "kapok-agent": program.encode()}
    with tarfile.open(path, "w:gz") as packed:
        for name, data in (files | more).items():
            entry = tarfile.TarInfo(name if "/" in name else f"top/{name}")
            entry.size = len(data)
            packed.addfile(entry, BytesIO(data))
    return path


class Machine:
    """A machine with one version installed, and a service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = Versions(folder / "prefix")
        self.service = Service(unit_folder=folder / "units", runtime_folder=folder / "runtime")
        self.config = folder / "agent.yaml"
        self.data = folder / "data"
        tree = {"site": "site-a", "data_dir": str(self.data), "broker": {"port": 9}}
        self.config.write_text(json.dumps(tree))
        old = self.versions.program("one")
        old.parent.mkdir(parents=True)
        old.write_text(REAL)
        old.chmod(0o755)
        (self.versions.prefix / "current").symlink_to("versions/one")
        unit = f"[Service]\nExecStart={self.versions.prefix}/current/bin/kapok-agent --config "
        text = f"{unit}{self.config}\nTimeoutStartSec=60\n"
        (folder / "units" / "kapok-agent.service").write_text(text)

    def upgrade(self, path: Path) -> Upgrade:
        return Upgrade(
            archive=path,
            config=self.config,
            settings=load_settings(self.config, {}),
            versions=self.versions,
            service=self.service,
            ready_seconds=20,
            steady_seconds=0.5,
        )

    @property
    def running(self) -> str:
        """The version that the link names; its process runs."""
        number = int((self.folder / "pid").read_text())
        assert systemctl_double.is_alive(number)
        return self.versions.current()


@pytest.fixture
def still_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    tools = systemctl_double.install(tmp_path)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    yield Machine(tmp_path)
    systemctl_double.stop(tmp_path)


@pytest.fixture
def machine(still_machine: Machine) -> Machine:
    """One whose service runs."""
    still_machine.service.restart()
    return still_machine


def test_a_good_version_takes_over_and_the_one_before_comes_back(machine: Machine) -> None:
    said = machine.upgrade(archive(machine.folder, "two", REAL)).run()
    assert said == "two runs; one is kept: kapok-agent upgrade --back"
    assert machine.running == "two"
    assert not machine.service.has_trial
    again = machine.upgrade(machine.folder / "two.tar.gz")
    assert again.run() == "two runs already"
    assert go_back(machine.versions, machine.service) == "one runs again"
    assert machine.running == "one"
    boots = int((machine.data / "boots").read_text())
    assert boots == 3, "each start was of the real agent, with the real data"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (CRASHES, "one runs again"),
        pytest.param(SILENT, "one runs again", marks=pytest.mark.soak),
        pytest.param(
            NO_START, "two does not start here: ImportError: no module", marks=pytest.mark.soak
        ),
        pytest.param(NEWER_JOURNAL, "no way back", marks=pytest.mark.soak),
    ],
    ids=["crashes", "silent", "does not start", "newer journal"],
)
def test_a_broken_version_leaves_the_one_before_running(
    machine: Machine, program: str, said: str
) -> None:
    upgrade = replace(machine.upgrade(archive(machine.folder, "two", program)), ready_seconds=1.5)
    with pytest.raises(UpgradeError, match=said):
        upgrade.run()
    assert machine.running == "one"
    assert not machine.service.has_trial
    with contextlib.closing(sqlite3.connect(machine.data / "journal.sqlite")) as journal:
        assert journal.execute("PRAGMA user_version").fetchone()[0] < 99
    left = {one.name for one in machine.versions.prefix.iterdir()}
    assert left == {"current", "lock", "versions"}


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_upgrade_that_is_killed_on_the_way_leaves_the_link_at_the_version_before(
    machine: Machine, number: signal.Signals
) -> None:
    path = archive(machine.folder, "two", SILENT)
    code = (
        "import sys; from pathlib import Path; from tests.e2e.test_agent_upgrade import *\n"
        "m = object.__new__(Machine)\n"
        "m.folder = Path(sys.argv[1]); m.config = m.folder / 'agent.yaml'\n"
        "m.versions = Versions(m.folder / 'prefix')\n"
        "m.service = Service(unit_folder=m.folder / 'units', runtime_folder=m.folder / 'runtime')\n"
        "m.upgrade(Path(sys.argv[2])).run()\n"
    )
    words = [sys.executable, "-c", code, str(machine.folder), str(path)]
    process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: machine.service.has_trial, seconds=60)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert machine.versions.current() == "one"
    assert machine.service.has_trial == (number == signal.SIGKILL)  # systemd removes it, or a boot
    (machine.versions.prefix / ".data-copy-left").mkdir()
    machine.upgrade(archive(machine.folder, "three", REAL)).run()
    assert not list(machine.versions.prefix.glob(".data-copy-*"))
    assert machine.running == "three"
    assert not machine.service.has_trial


def test_a_full_disk_changes_nothing(still_machine: Machine) -> None:
    small = still_machine.folder / "prefix"
    mount = [require_tool("mount"), "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        old = still_machine.versions.program("one")
        old.parent.mkdir(parents=True)
        old.write_text(REAL)
        (small / "current").symlink_to("versions/one")
        path = archive(still_machine.folder, "two", REAL, wheel=os.urandom(2**20))
        with pytest.raises(OSError, match="No space left"):
            still_machine.upgrade(path).run()
        assert still_machine.versions.current() == "one"
        assert {one.name for one in small.iterdir()} == {"current", "lock", "versions"}
    finally:
        subprocess.run([require_tool("umount"), "-l", str(small)], check=False)


def test_with_keys_of_a_hub_an_archive_is_signed_or_named_by_its_digest(machine: Machine) -> None:
    path = archive(machine.folder, "two", REAL)
    digest = sha256(path.read_bytes()).hexdigest()
    signed = replace(load_settings(machine.config, {}), hub_keys=(str(HUB.public),))
    upgrade = replace(machine.upgrade(path), settings=signed)
    beside = path.with_name(f"{path.name}.sig")
    with pytest.raises(UpgradeError, match=r"kapok keys sign two\.tar\.gz"):
        upgrade.run()
    for text in ("", "x", sign_archive(SigningKey(b"x" * 32), digest), sign_archive(HUB, "0" * 64)):
        beside.write_text(text)
        with pytest.raises(UpgradeError, match="copy both files again"):
            upgrade.run()
    with pytest.raises(UpgradeError, match="not the one of --sha256"):
        replace(upgrade, wanted_sha256="0" * 64).run()
    assert machine.running == "one"
    beside.write_text(sign_archive(HUB, digest))
    assert upgrade.run().startswith("two runs")


@pytest.mark.parametrize("name", ["../out", "/kapok-out", "top/../../out"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    still_machine: Machine, name: str
) -> None:
    path = archive(still_machine.folder, "two", REAL, **{name: b"x"})
    with pytest.raises(UpgradeError, match="no plain file below its folder"):
        still_machine.upgrade(path).run()
    assert not (still_machine.folder / "out").exists()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UpgradeError, match="not a whole archive"):
        still_machine.upgrade(path).run()


@pytest.mark.parametrize(
    "command",
    ["/bin/true --config {config}", "{versions}/one/bin/kapok-agent --config {config}", "{link}"],
)
def test_a_service_that_does_not_follow_the_link_is_named(
    still_machine: Machine, command: str
) -> None:
    prefix = still_machine.versions.prefix
    text = command.format(
        config=still_machine.config,
        versions=prefix / "versions",
        link=f"{prefix}/current/bin/kapok-agent --config /etc/other.yaml",
    )
    (still_machine.folder / "units" / "kapok-agent.service").write_text(
        f"[Service]\nExecStart={text}\n"
    )
    with pytest.raises(UpgradeError, match="let it run"):
        still_machine.upgrade(archive(still_machine.folder, "two", REAL)).run()
    assert [one.name for one in (prefix / "versions").iterdir()] == ["one"]


def test_the_command_refuses_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", "upgrade", "x.tar.gz", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["done"] is False
    assert "was not installed by install.sh" in done.stderr
