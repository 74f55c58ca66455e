"""Child processes that end when their parent ends, also by `kill -9`.

`command_tied_to_parent(argv)` wraps a command: the wrapper asks Linux for SIGTERM at the parent's
death (prctl(2), PR_SET_PDEATHSIG; kept across execve) and becomes the command. Elsewhere the
command just runs; there the parent's own clean-up is all there is.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def command_tied_to_parent(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` as a child that does not outlive this process."""
    return [sys.executable, "-m", "scheduler.runtime.parent_death", str(os.getpid()), *argv]


def tie_to_parent(parent_pid: int, *, death_signal: int = signal.SIGTERM) -> None:
    """Makes this process end with its parent.

    Args:
        parent_pid: who the parent was when it started us; if that is no longer so, we end now.
        death_signal: what Linux sends us at the parent's death.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent_pid:  # it died between its fork and our call
        sys.exit(1)


def main() -> None:
    """`python -m scheduler.runtime.parent_death PARENT_PID COMMAND …`."""
    parent_pid, *command = sys.argv[1:]
    tie_to_parent(int(parent_pid))
    os.execvp(command[0], command)  # noqa: S606 - our own caller's words, no shell


if __name__ == "__main__":
    main()
