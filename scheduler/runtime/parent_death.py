"""Child processes that end when their parent ends, also by `kill -9`.

`command_tied_to_parent(argv)` wraps a command: the wrapper asks Linux to send SIGTERM when the
parent dies (prctl(2), PR_SET_PDEATHSIG; kept across execve) and then becomes the command. On other
systems the command just runs, and only the parent's own clean-up ends it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def command_tied_to_parent(argv: Sequence[str]) -> list[str]:
    """A command line that runs `argv` as a child which ends with this process."""
    return [sys.executable, "-m", "scheduler.runtime.parent_death", str(os.getpid()), *argv]


def tie_to_parent(parent_pid: int, *, death_signal: int = signal.SIGTERM) -> None:
    """Makes this process end with its parent.

    Args:
        parent_pid: the parent's process id at the start; exits at once if the parent differs.
        death_signal: the signal that Linux sends to this process when the parent dies.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent died before the call to prctl
        sys.exit(1)


def main() -> None:
    """`python -m scheduler.runtime.parent_death PARENT_PID COMMAND …`."""
    parent_pid, *command = sys.argv[1:]
    tie_to_parent(int(parent_pid))
    os.execvp(command[0], command)  # noqa: S606 - the command is our own caller's, no shell


if __name__ == "__main__":
    main()
