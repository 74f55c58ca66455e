"""The versions that install.sh has put side by side, and the link to the one that runs."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.upgrade.archive import UpgradeError

_CURRENT: Final = "current"
_PREVIOUS: Final = "previous"


@dataclass(frozen=True, slots=True)
class Versions:
    """One folder of install.sh.

    Attributes:
        prefix: the folder; `versions` in it has a folder for each version.
    """

    prefix: Path

    @classmethod
    def of_this_program(cls) -> "Versions":
        """The folder that this program was installed into.

        Raises:
            UpgradeError: install.sh has not installed it.
        """
        folder = Path(sys.prefix)
        if folder.parent.name != "versions" or not (folder.parents[1] / _CURRENT).is_symlink():
            raise UpgradeError(
                f"this kapok-agent in {folder} was not installed by install.sh of an archive; "
                "replace it the way it was installed"
            )
        return cls(folder.parents[1])

    def program(self, version: str) -> Path:
        """The command of a version."""
        return self.prefix / "versions" / version / "bin" / "kapok-agent"

    def current(self) -> str:
        """The version that the link names.

        Raises:
            UpgradeError: there is no link.
        """
        try:
            return (self.prefix / _CURRENT).readlink().name
        except OSError as error:
            raise UpgradeError(f"{self.prefix / _CURRENT}: {error.strerror}") from None

    def previous(self) -> str:
        """The version before.

        Raises:
            UpgradeError: there is none.
        """
        try:
            found = (self.prefix / _PREVIOUS).readlink().name
        except OSError:
            found = ""
        if not found or not self.program(found).exists():
            raise UpgradeError(f"{self.prefix} has no version before {self.current()}")
        return found

    def switch(self, version: str) -> None:
        """Makes a version the current one: the link is the old or the new one at each moment.

        Raises:
            OSError: the disk is full or read-only.
        """
        before = self.current()
        if before == version:
            return
        self._link(_PREVIOUS, before)
        self._link(_CURRENT, version)

    def prune(self) -> None:
        """Removes all versions but the current one and the one before."""
        kept = {(self.prefix / name).readlink().name for name in (_CURRENT, _PREVIOUS)}
        for folder in (self.prefix / "versions").iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one upgrade at a time work here.

        Raises:
            UpgradeError: another one does, or the folder cannot be written.
        """
        try:
            handle = os.open(self.prefix / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UpgradeError(f"{self.prefix}: {error.strerror}; run it with sudo") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UpgradeError(f"another upgrade works in {self.prefix}") from None
        finally:
            os.close(handle)

    def _link(self, name: str, version: str) -> None:
        new = self.prefix / f".{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions") / version)
        new.replace(self.prefix / name)
        handle = os.open(self.prefix, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
