"""Watches one collection of the member's API on a thread of its own.

It lists in pages, then watches from the list's revision, and keeps of each object only what a
function makes of it. A watch that ends is resumed from the last revision; one whose revision the
server no longer has (410) is begun again with a list. A watch that receives nothing may be cut by
what lies between, so the kernel probes its connection, and each watch is ended and resumed after a
minute or two.
"""

import http.client
import json
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from agents.member.api import MemberApi, MemberApiError, Tree, UnusableResponse
from agents.member.trees import integer_at, map_at, text_at
from agents.runtime.backoff import Backoff
from agents.runtime.clock import AgentSystemClock

_log = logging.getLogger(__name__)

T = TypeVar("T")

WATCH_SECONDS: Final = 60.0
"""Least duration of a watch; each lasts up to twice as long, so that not all end at once."""

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
MAX_OBJECTS: Final = 400_000
_GRACE_SECONDS: Final = 15.0
_MIN_WATCH_SECONDS: Final = 1.0
_INITIAL_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 30.0
_REFUSED_SECONDS: Final = 300.0
_BAD_REQUEST: Final = http.client.BAD_REQUEST
_GONE: Final = http.client.GONE
_REFUSED_CODES: Final = frozenset({401, 403, 404, 405, 501})
_CLOCK: Final = AgentSystemClock()  # a socket waits in real time, whatever clock the loops have


class WatchRefused(MemberApiError):
    """The server lists, but does not let this agent watch; poll instead."""


class _Expired(Exception):
    """The server no longer has the revision to watch from."""


@dataclass(slots=True, kw_only=True)
class Watch(Generic[T]):
    """What is known of all objects of one collection. Safe to use from several threads.

    Attributes:
        api: API of the member.
        path: path of the collection.
        query: a selector; dropped if the server answers that it does not support it.
        read: reduces an object to what is kept of it; None: it is not kept. It must not raise.
        jitter: chance as an input, for pauses.
        on_fault: called with what went wrong that should not have.
    """

    api: MemberApi
    path: str
    read: Callable[[Tree], T | None]
    query: Mapping[str, str] | None = None
    jitter: random.Random = field(default_factory=random.Random)
    on_fault: Callable[[Exception], None] = lambda _error: None
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _objects: dict[bytes | str, T] = field(default_factory=dict, init=False)
    _version: int = field(default=0, init=False)
    _revision: str | None = field(default=None, init=False)
    _lists_wanted: int = field(default=1, init=False)
    _lists_made: int = field(default=0, init=False)
    _is_current: bool = field(default=False, init=False)
    _is_retry_asked: bool = field(default=False, init=False)
    _problem: MemberApiError | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Starts the thread, unless it runs."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"watch {self.path}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what blocks in a socket ends when the API is closed."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    def list_again(self) -> None:
        """Reads all objects again, as when `read` has changed; `snapshot` waits for it."""
        with self._changed:
            self._lists_wanted += 1
            self._is_current = False
        self.api.end_streams()

    def snapshot(self, wait_seconds: float) -> tuple[list[T], int]:
        """All objects, and a number that changes with each of them.

        Args:
            wait_seconds: how long to wait for the first list, or a new one.

        Raises:
            WatchRefused: the server does not allow it.
            MemberApiError: the server does not answer, or not in time.
        """
        with self._changed:
            if isinstance(self._problem, WatchRefused):
                raise self._problem
            if not self._is_current:
                self._problem, self._is_retry_asked = None, True
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_current or self._problem is not None or self._ended.is_set(),
                wait_seconds,
            )
            if self._problem is not None:
                raise self._problem
            if not self._is_current:
                raise MemberApiError(0, "Unreachable", f"{self.path}: its list takes too long")
            return list(self._objects.values()), self._version

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        backoff = Backoff(
            initial_seconds=_INITIAL_BACKOFF_SECONDS,
            max_seconds=_MAX_BACKOFF_SECONDS,
            jitter=self.jitter,
        )
        while not self._ended.is_set():
            started, pause, wanted = _CLOCK.monotonic(), 0.0, self._lists_wanted
            try:
                self._list_and_watch()
            except _Expired:
                with self._changed:
                    self._revision, self._is_current = None, False
            except WatchRefused as error:
                self._fail(error)
                pause = _REFUSED_SECONDS
            except MemberApiError as error:
                if not error.code:
                    # Its store may have been restored while it was away. It then counts versions
                    # on from the backup, and a watch from a later one brings nothing.
                    self._revision = None
                # `list_again` may have cut the request off itself.
                if error.code or self._lists_wanted == wanted:
                    self._fail(error)
                    pause = backoff.next_seconds()
            except Exception as error:  # noqa: BLE001 - the edge of what a server sends
                self._fail(UnusableResponse(f"{self.path}: {type(error).__name__}"))
                self._revision = None
                self.on_fault(error)
                pause = backoff.next_seconds()
            else:
                backoff.reset()
            if not pause and _CLOCK.monotonic() - started < _MIN_WATCH_SECONDS:
                # A server that ends each watch at once is not asked without a pause.
                pause = backoff.next_seconds()
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        """Waits before the next attempt; not if it is asked for, but for a server that refuses."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended.is_set() or self._is_retry_asked, max(seconds, 0)
            )
            self._is_retry_asked = False

    def _list_and_watch(self) -> None:
        if self._revision is None or self._lists_made < self._lists_wanted:
            self._list()
        for kind, tree in self._events():
            if kind == "BOOKMARK":
                self._revision = text_at(map_at(tree, "metadata"), "resourceVersion") or None
            elif kind in {"ADDED", "MODIFIED", "DELETED"}:
                self._take(kind, tree)
            elif kind == "ERROR":
                if integer_at(tree, "code", 0) == _GONE:
                    raise _Expired
                raise UnusableResponse(f"watch {self.path}: {text_at(tree, 'reason')[:100]!a}")
            if self._is_to_end():
                return

    def _is_to_end(self) -> bool:
        return self._ended.is_set() or self._lists_made < self._lists_wanted

    def _list(self) -> None:
        """Lists the collection; the objects that were known stay until all of it is read."""
        found: dict[bytes | str, T] = {}
        revision, wanted = "", self._lists_wanted

        def note_revision(metadata: Mapping[str, Any]) -> None:
            nonlocal revision
            revision = revision or text_at(metadata, "resourceVersion")

        try:
            for page in self.api.list_pages(self.path, self.query, on_metadata=note_revision):
                for tree in page:
                    kept = self.read(tree)
                    if kept is not None:
                        found[_key_of(tree)] = kept
                if len(found) > MAX_OBJECTS:
                    raise UnusableResponse(f"{self.path}: more than {MAX_OBJECTS} objects")
        except MemberApiError as error:
            if error.code == _BAD_REQUEST and self.query:
                self.query = None  # `read` leaves out what it does not select
            if error.code == _GONE:
                raise _Expired from error
            raise
        with self._changed:
            self._objects, self._revision = found, revision or None
            self._version += 1
            self._lists_made = wanted
            self._note_current()

    def _take(self, kind: str, tree: Tree) -> None:
        key = _key_of(tree)
        kept = None if kind == "DELETED" else self.read(tree)
        with self._changed:
            revision = text_at(map_at(tree, "metadata"), "resourceVersion")
            self._revision = revision or self._revision
            if kept is None:
                if self._objects.pop(key, None) is not None:
                    self._version += 1
            elif self._objects.get(key) != kept:
                if key not in self._objects and len(self._objects) >= MAX_OBJECTS:
                    raise UnusableResponse(f"{self.path}: more than {MAX_OBJECTS} objects")
                self._objects[key] = kept
                self._version += 1

    def _events(self) -> Iterator[tuple[str, Tree]]:
        seconds = round(WATCH_SECONDS * (1 + self.jitter.random()))
        query = {
            **(self.query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._revision or "",
            "timeoutSeconds": str(seconds),
        }
        try:
            with self.api.stream(
                f"{self.path}?{urlencode(query)}", total_seconds=seconds + _GRACE_SECONDS
            ) as response:
                with self._changed:
                    self._note_current()
                # `list_again` and `stop` end what is open; this has only just been opened.
                if self._is_to_end():
                    return
                while line := response.readline(MAX_EVENT_BYTES + 1):
                    yield _parse_event(line, self.path)
        except MemberApiError as error:
            if error.code == _GONE:
                raise _Expired from error
            if error.code in _REFUSED_CODES:
                raise WatchRefused(error.code, error.reason, str(error)) from error
            raise
        except (OSError, http.client.HTTPException) as error:
            # Cut on the way; what it has missed comes with the next one.
            _log.debug("watch %s: %s", self.path, error)

    def _fail(self, error: MemberApiError) -> None:
        with self._changed:
            self._problem, self._is_current = error, False
            self._changed.notify_all()

    def _note_current(self) -> None:
        """The server answers; what is known is what it has, unless another list is wanted."""
        if self._lists_made == self._lists_wanted:
            self._is_current, self._problem = True, None
            self._changed.notify_all()


def _key_of(tree: Tree) -> bytes | str:
    """The identity of an object, in as few bytes as it has: half of what is kept of a pod is it."""
    metadata = map_at(tree, "metadata")
    uid = text_at(metadata, "uid")
    try:
        return bytes.fromhex(uid.replace("-", "")) or _name_of(metadata)
    except ValueError:
        return uid[:64]


def _name_of(metadata: Mapping[str, Any]) -> str:
    return f"{text_at(metadata, 'namespace')[:63]}/{text_at(metadata, 'name')[:253]}"


def _parse_event(line: bytes, path: str) -> tuple[str, Tree]:
    if len(line) > MAX_EVENT_BYTES:
        raise UnusableResponse(f"watch {path}: an event of more than {MAX_EVENT_BYTES} bytes")
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        if line.endswith(b"\n"):
            raise UnusableResponse(f"watch {path}: an event that is not JSON") from None
        raise http.client.IncompleteRead(line) from None
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise UnusableResponse(f"watch {path}: not an event")
    return text_at(event, "type"), event["object"]
