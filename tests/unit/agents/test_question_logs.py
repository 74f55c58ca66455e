"""The end of a container's log: the last lines, within bounds, each once."""

from agents.diagnosis.answerer import SeenNumbers
from agents.diagnosis.logs import LogWish, answer_of, instant_key

DAY = "2026-01-01T00:00:"


def wish(*, after: str | None = None, max_bytes: int = 1000) -> LogWish:
    return LogWish(
        namespace="n", pod="p", container="c", tail_lines=None, after=after, max_bytes=max_bytes
    )


def line(second: int, text: str, zone: str = "Z") -> bytes:
    return f"{DAY}{second:02}.000000001{zone} {text}\n".encode()


def test_what_is_too_much_is_cut_at_the_beginning() -> None:
    found = answer_of(wish(max_bytes=12), line(1, "first") + line(2, "second") + line(3, "last"))
    assert (found.text, found.is_truncated) == ("second\nlast\n", True)
    assert found.after == f"{DAY}03.000000001Z"
    long = answer_of(wish(max_bytes=5), line(1, "x" * 100 + "end"))
    assert (long.text, long.is_truncated) == ("xend\n", True)


def test_a_cursor_leaves_out_what_was_read_also_in_another_zone() -> None:
    data = line(1, "old") + line(2, "new")
    assert answer_of(wish(after=f"{DAY}01.000000001Z"), data).text == "new\n"
    assert answer_of(wish(after="2026-01-01T08:00:01.000000001+08:00"), data).text == "new\n"
    nothing = answer_of(wish(after=f"{DAY}02.000000001Z"), data)
    assert (nothing.text, nothing.after) == ("", f"{DAY}02.000000001Z")
    assert not nothing.is_truncated


def test_a_log_cannot_move_the_cursor_of_a_terminal() -> None:
    assert answer_of(wish(), line(1, "a\x1b[2Jb\x07\tc")).text == "a[2Jb\tc\n"
    assert answer_of(wish(), b"no time at all \xff\n").text == "no time at all \ufffd\n"
    assert instant_key("2026-13-01T00:00:00Z") is None


def test_a_number_that_was_seen_or_is_much_older_is_refused() -> None:
    seen = SeenNumbers()
    assert [seen.take("a", number) for number in (1, 3, 2, 3, 1)] == [True] * 3 + [False] * 2
    assert seen.take("a", 200)
    assert not seen.take("a", 4)
    assert not seen.take("a", 136)
    assert seen.take("a", 137)
    assert [seen.take(name, 1) for name in "bcde"] == [True] * 4  # a is forgotten
