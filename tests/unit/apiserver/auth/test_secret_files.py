"""Files with secrets that are damaged, or that others may read, are refused by name."""

from pathlib import Path

import pytest

from scheduler.apiserver.auth.tokens import (
    OWNER,
    TokenStore,
    UnusableSecret,
    check_secret_mode,
)
from scheduler.apiserver.base.errors import DamagedFile


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_tokens_that_others_may_read_or_write_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens.json"
    TokenStore(path).get_or_create(OWNER)
    check_secret_mode(path)
    path.chmod(mode)
    with pytest.raises(UnusableSecret, match=f"run: chmod 600 {path}"):
        TokenStore(path).get_or_create(OWNER)


@pytest.mark.parametrize(
    "text", ["", "{", "7", "[7]", "{}x", '[{"token": 7}]', '["a"]', '[{"token": "a"}]']
)
def test_damaged_tokens_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(DamagedFile, match="kapok hub token"):
        TokenStore(path).get_or_create(OWNER)
