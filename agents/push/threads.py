"""Keeps the threads of members apart, so that one that does not answer delays no other.

`asyncio.to_thread` uses the default executor of the loop. In a push process that is
`MemberThreads`, which hands each call to the pool of the member whose task makes it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

MEMBER_THREADS: Final = 3
"""The sensors, the executor and the lease of one agent block at the same time."""

_pool: ContextVar[ThreadPoolExecutor | None] = ContextVar("member_pool", default=None)


class MemberThreads(ThreadPoolExecutor):
    """The default executor of a push process; its own threads are for what is no member's."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Runs a call on a thread of the member that the present task belongs to."""
        pool = _pool.get()
        return (pool.submit if pool is not None else super().submit)(fn, *args, **kwargs)


@contextmanager
def own_threads(name: str) -> Iterator[None]:
    """Gives the present task, and the tasks that it starts, threads of their own.

    Threads that still wait for a member at the end are left to their time-outs.
    """
    pool = ThreadPoolExecutor(MEMBER_THREADS, thread_name_prefix=name)
    token: Any = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
        pool.shutdown(wait=False, cancel_futures=True)
