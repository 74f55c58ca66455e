"""Logs of the demo's processes are bounded on disk."""

from pathlib import Path

from scheduler.demo.children import ChildProcess


def test_a_log_that_is_too_large_is_cut_to_its_last_lines(tmp_path: Path) -> None:
    child = ChildProcess(name="a", argv=(), log=tmp_path / "a.log", output=tmp_path / "a.out")
    line = b"x" * 1023 + b"\n"
    child.log.write_bytes(line * 17 * 1024 + b"the last one\n")
    child.trim_logs()
    kept = child.log.read_bytes()
    assert kept.endswith(b"x\nthe last one\n")
    assert len(kept) <= 2**20
    assert kept.startswith(line)
    assert child.log_tail().endswith("  the last one")
