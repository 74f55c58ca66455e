"""Makes the agent end with the process that started it, also when that one is killed.

Linux sends us SIGTERM at the parent's death (prctl(2), PR_SET_PDEATHSIG). Elsewhere the parent's
own clean-up is all there is. A copy of the scheduler's on purpose: the two programs share the wire
schema and nothing else.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tie_to_parent(parent_pid: int) -> bool:
    """Asks to be ended with the parent.

    Args:
        parent_pid: who the parent was when it started us.

    Returns:
        False if that parent is already gone; then we should end now.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only a supervised agent pays for it

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    return os.getppid() == parent_pid
