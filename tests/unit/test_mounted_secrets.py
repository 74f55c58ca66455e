"""Secrets that an operator mounts may be read by their group, and by no other user."""

from pathlib import Path

import pytest

from scheduler.recovery.files import check_mounted_secret
from scheduler.runtime.data_dir import DataDirectoryError


@pytest.mark.parametrize(("mode", "is_refused"), [(0o600, False), (0o640, False), (0o644, True)])
def test_only_a_secret_that_every_user_may_read_is_refused(
    tmp_path: Path, mode: int, *, is_refused: bool
) -> None:
    path = tmp_path / "password"
    path.touch()
    path.chmod(mode)
    if is_refused:
        with pytest.raises(DataDirectoryError, match=f"run: chmod 600 {path}"):
            check_mounted_secret(path)
    else:
        check_mounted_secret(path)


def test_a_missing_secret_is_named_by_its_reader(tmp_path: Path) -> None:
    check_mounted_secret(tmp_path / "none")
