"""Whether a version can start with the settings and files of this machine, without touching them.

The files of the data directory are copied first: a version that would change the journal's format,
or damage it, does so in the copy. The version that runs then opens the copy again, which shows that
there is a way back.
"""

import random
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from agents.config.load import load_settings
from agents.config.settings import AgentSettings
from agents.orders.journal import Journal
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_checks import check_data_files
from agents.runtime.data_dir import JOURNAL_FILE, LOCK_FILE, Boot, load_or_create_key
from agents.upgrade.archive import UpgradeError

_CREDENTIALS: Final = "/run/credentials/"
_MAX_FILE_BYTES: Final = 2**20
_SET_ASIDE: Final = Path(JOURNAL_FILE).with_suffix(".spoilt").name
"""What becomes of a journal that cannot be read."""


def copy_data(source: Path, target: Path) -> None:
    """Copies a data directory that an agent uses now; the journal as SQLite backs it up.

    Raises:
        OSError: a file cannot be read or written.
        UpgradeError: the journal cannot be read.
    """
    if not source.is_dir():
        return
    journal = source / JOURNAL_FILE
    for path in source.iterdir():
        is_apart = path.name.startswith((JOURNAL_FILE, LOCK_FILE, _SET_ASIDE)) or path.is_symlink()
        if not is_apart and path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES:
            shutil.copy(path, target / path.name)
    if not journal.exists():
        return
    (target / JOURNAL_FILE).touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as found,
            closing(sqlite3.connect(target / JOURNAL_FILE)) as copy,
        ):
            found.backup(copy)
    except sqlite3.Error as error:
        raise UpgradeError(f"{journal}: {error}; kapok-agent doctor says more") from None


def check_start(config: Path, data_dir: Path, environment: Mapping[str, str]) -> AgentSettings:
    """Starts an agent of this version as far as its loops, with a copy of the files.

    Args:
        config: the settings of this machine.
        data_dir: the copy.
        environment: usually `os.environ`.

    Raises:
        UpgradeError: the journal cannot be used.
        Exception: whatever keeps the agent from starting.
    """
    from agents.app import build_agent  # noqa: PLC0415 - a broken import is one of the findings

    settings = replace(load_settings(config, environment), data_dir=str(data_dir))
    kubeconfig = settings.cluster.kubeconfig
    if kubeconfig.startswith(_CREDENTIALS) and not Path(kubeconfig).exists():
        # systemd hands it to the service alone.
        settings = replace(settings, cluster=replace(settings.cluster, source="none"))
    check_data_files(data_dir)
    agent = build_agent(
        settings,
        key=load_or_create_key(data_dir),
        boot=Boot("self-check", 1),
        clock=AgentSystemClock(),
        jitter=random.Random(),  # noqa: S311 - jitter is no secret
    )
    try:
        agent.render_metrics()
        if agent.journal.problem:
            raise UpgradeError(f"journal: {agent.journal.problem}")
    finally:
        agent.journal.close()
        agent.reports.collector.close()
        if agent.discovery:
            agent.discovery.api.close()
    require_readable(data_dir)
    return settings


def require_readable(data_dir: Path) -> None:
    """Checks that this version reads a data directory, and would set nothing of it aside.

    Raises:
        IdentityError: a file is damaged, or of a newer version.
        UpgradeError: the journal is.
    """
    check_data_files(data_dir)
    path = data_dir / JOURNAL_FILE
    if not path.exists():
        return
    journal = Journal(path)
    problem = journal.problem
    journal.close()
    if problem or (data_dir / _SET_ASIDE).exists():
        raise UpgradeError(f"the journal cannot be read: {problem or 'it was set aside'}")
