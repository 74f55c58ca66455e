"""How commands that run until they are stopped end: on a signal, or on an error.

SIGINT (Ctrl-C) and SIGTERM cancel the work, so that every context manager in it cleans up before
the command returns.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_until_signalled(work: Coroutine[Any, Any, _T], *, name: str) -> _T | None:
    """Runs `work` to its end, or until SIGINT or SIGTERM.

    Args:
        work: what to run; a signal cancels it.
        name: name of its task, for debuggers.

    Returns:
        The result of `work`; None after a signal.

    Raises:
        BaseExceptionGroup: what `work` raises; see `leaf_errors`.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
    return None if task.cancelled() else task.result()


def leaf_errors(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single exceptions of an exception group, from all levels of nesting."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(leaf_errors(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves
