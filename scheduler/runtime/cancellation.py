"""Work whose cancellation is never lost.

A task is cancelled once, and Python 3.11 loses that in two places: `asyncio.wait_for` when the
result arrives together with the cancellation, and `asyncio.TaskGroup` when a member fails while the
group is being cancelled. A loop around either would go on for ever, and a stop would hang. SIGTERM
to a process group does the latter: the broker ends, so the session fails at the very moment at
which it is cancelled.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_REPEAT_SECONDS = 5.0

_T = TypeVar("_T")


async def run_cancellable(
    work: Coroutine[Any, Any, _T], *, name: str, repeat_seconds: float = _REPEAT_SECONDS
) -> _T:
    """Runs `work` in a task of its own; a cancellation of the caller always ends both.

    The caller waits by `asyncio.wait` alone, which loses no cancellation. Whatever `work` makes of
    its own cancellation, this raises `CancelledError` once `work` has ended.

    Args:
        work: what to run.
        name: name of its task, for debuggers.
        repeat_seconds: work that still runs this long after its cancellation is cancelled again;
            an orderly end takes less.

    Returns:
        What `work` returns.
    """
    # No TaskGroup: it is what loses cancellations. The task never outlives this call.
    task = asyncio.create_task(work, name=name)  # noqa: TID251 - see above
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await _cancel_until_done(task, repeat_seconds)
        raise
    return task.result()


async def _cancel_until_done(task: asyncio.Task[_T], repeat_seconds: float) -> None:
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=repeat_seconds)
        except asyncio.CancelledError:
            continue  # cancelled again: so is the task, at once
    if not task.cancelled():
        task.exception()  # asyncio logs an error that is not retrieved
