"""What a process does that answers one question of the scheduler on its standard output, and ends.

It ends with the scheduler, also by kill -9, and by itself when its time is over.
"""

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from scheduler.runtime.parent_death import tie_to_parent

_NICENESS = 5
"""What decides and answers comes first on a busy machine."""
_EXIT_FAILED = 1


@contextmanager
def helper_output() -> Iterator[BinaryIO]:
    """Ties this process to the scheduler, whose id is its argument, and gives it its output.

    What a library prints goes to stderr, so that it does not look like an answer.
    """
    tie_to_parent(int(sys.argv[1]), death_signal=signal.SIGKILL)
    os.nice(_NICENESS)
    answers = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answers, "wb") as output:
        yield output


def limit_process(seconds: float, mebibytes: int) -> None:
    """Ends this process after a time, and has it fail where it needs more memory."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    most = mebibytes << 20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def end_with_input() -> None:
    """Ends the process when its standard input closes, where no signal comes when a parent dies.

    All that is to be read must have been read.
    """
    threading.Thread(target=_wait_for_end, name="parent", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):
        pass
    os._exit(_EXIT_FAILED)
