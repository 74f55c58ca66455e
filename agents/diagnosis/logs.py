"""Reads the end of a container's log, within bounds.

The kubelet bounds a log from its beginning (`limitBytes`), and the last lines are what is wanted.
So when the answer is as long as its bound, fewer lines are asked for.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from agents.member.api import MemberApi, MemberApiError, quote_path_segment
from agents.protocol.diagnosis.answer import MAX_SENTENCE_CHARACTERS, LogAnswer

_READ_BYTES: Final = 1024 * 1024
_DEFAULT_LINES: Final = 2_000
_FEWER: Final = 8
_FORBIDDEN: Final = 403
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_NOT_TEXT: Final = dict.fromkeys((*range(9), *range(10, 32), *range(127, 160)))
"""Control characters: a log must not move the cursor of the terminal that shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWish:
    """What is wanted of one container's log.

    Attributes:
        namespace: namespace of the pod.
        pod: name of the pod.
        container: name of the container.
        tail_lines: the last lines; None: as many as fit.
        after: only lines after this time; None: all.
        max_bytes: the most that is returned, in UTF-8.
    """

    namespace: str
    pod: str
    container: str
    tail_lines: int | None
    after: str | None
    max_bytes: int


def read_log(api: MemberApi, wish: LogWish) -> LogAnswer:
    """The end of a container's log; what cannot be read is said in the answer.

    Raises:
        MemberApiError: the member's API does not answer.
    """
    lines, is_cut = wish.tail_lines or _DEFAULT_LINES, False
    while True:
        try:
            data = api.read_text(_path_of(wish, lines))
        except MemberApiError as error:
            if error.code == 0:
                raise
            return LogAnswer(pod=wish.pod, container=wish.container, problem=_problem(wish, error))
        if len(data) < _READ_BYTES or lines == 1:
            break
        lines, is_cut = max(1, lines // _FEWER), True
    # Without an asked number of lines, as many lines as are asked for are probably not all.
    is_cut = is_cut or (wish.tail_lines is None and data.count(b"\n") >= lines)
    return answer_of(wish, data, is_cut=is_cut)


def answer_of(wish: LogWish, data: bytes, *, is_cut: bool = False) -> LogAnswer:
    """The answer from a log with the time of each line, of which the last lines are kept."""
    since = instant_key(wish.after) if wish.after else None
    kept: list[str] = []
    size, after = 0, wish.after
    for number, raw in enumerate(reversed(data.splitlines())):
        stamp, _, rest = raw.decode(errors="replace").partition(" ")
        at = instant_key(stamp)
        if since is not None and at is not None and at <= since:
            is_cut = False  # the rest is known
            break
        text = (rest if at is not None else f"{stamp} {rest}").translate(_NOT_TEXT) + "\n"
        room, length = wish.max_bytes - size, len(text.encode())
        if number == 0 and length > room:
            text = text.encode()[-room:].decode(errors="ignore")
            length, is_cut = len(text.encode()), True
        if length > room:
            is_cut = True
            break
        if not kept and at is not None:
            after = stamp
        kept.append(text)
        size += length
    return LogAnswer(
        pod=wish.pod,
        container=wish.container,
        text="".join(reversed(kept)),
        after=after,
        is_truncated=is_cut,
    )


def instant_key(text: str) -> tuple[int, int] | None:
    """Seconds and nanoseconds of a line's time, to compare; None if it is none.

    A node writes its own offset from UTC, so the texts themselves do not compare.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
        return int(at.astimezone(UTC).timestamp()), int((found[2] or "").ljust(9, "0"))
    except (ValueError, OverflowError):
        return None


def _path_of(wish: LogWish, lines: int) -> str:
    query = {
        "container": wish.container,
        "timestamps": "true",
        "tailLines": str(lines),
        "limitBytes": str(_READ_BYTES),
    }
    if wish.after and (found := _INSTANT.fullmatch(wish.after)):
        query["sinceTime"] = found[1] + found[3]
    namespace, pod = quote_path_segment(wish.namespace), quote_path_segment(wish.pod)
    return f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{urlencode(query)}"


def _problem(wish: LogWish, error: MemberApiError) -> str:
    text = str(error)
    if error.code == _FORBIDDEN:
        text = f"the agent's account may not get pods/log in namespace {wish.namespace}: {text}"
    return text[:MAX_SENTENCE_CHARACTERS]
