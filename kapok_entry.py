"""Where the commands start: says plainly when another package has taken one of our import names.

`scheduler` and `agents` are names that other packages use too. Where one of them comes first on the
path, or was installed over ours, Python would only say that some module of ours is missing. This
module has a name of its own, so it starts in any case.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec

_INTERRUPTED = 130

_OUTPUT_IS_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
"""How a write to stdout fails on a full disk, over a quota, or where the reader is gone."""

_FIRST_WORDS = {"scheduler": '"""Kapok: ', "agents": '"""The agent at a site'}
"""How the source of each package of ours begins."""


def kapok() -> int:
    """Runs `kapok`, which is `kubectl kapok` too."""
    return _run("kapok", _kapok_main)


def kapok_agent() -> int:
    """Runs `kapok-agent`."""
    return _run("kapok-agent", _agent_main, "agents")


def _kapok_main() -> Callable[[], int]:
    from scheduler.cli.entry import main  # noqa: PLC0415 - only when it is ours

    return main


def _agent_main() -> Callable[[], int]:
    from agents.cli import main  # noqa: PLC0415 - only when it is ours

    return main


def _run(command: str, find_main: Callable[[], Callable[[], int]], *names: str) -> int:
    """Runs a command; Ctrl-C ends it with 130 and without a traceback at every moment.

    Nothing is done before the imports are complete, nor after the command has returned, so the
    process simply ends then: an exception would be printed, or lost inside an extension module.
    """
    _open_closed_streams()
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:  # otherwise the process that started this one has it ignored, as nohup does
        signal.signal(signal.SIGINT, _quit)
    problem = import_problem(*names)
    if problem:
        return _refuse(command, problem)
    main = find_main()
    try:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return _when_written(main())
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if error.errno not in _OUTPUT_IS_LOST or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # `kapok-agent --version | true`: the reader wants no more
            return 0
        sys.stderr.write(f"{command}: the output could not be written whole: {error.strerror}\n")
        return 1
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _quit)


def _when_written(code: int) -> int:
    """The code, once all output is written: at Python's exit that fails with a traceback."""
    sys.stdout.flush()
    return code


def _open_closed_streams() -> None:
    """Gives a process whose streams were closed (`>&-`) some that lead nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as below
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the end


def _quit(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


def import_problem(*names: str) -> str:
    """What is wrong with our import names; "": nothing.

    Args:
        names: the names that are needed; none: all.
    """
    for name in names or _FIRST_WORDS:
        found = find_spec(name)
        origin = found.origin if found else None
        if found and origin and _begins_with(origin, _FIRST_WORDS[name]):
            continue
        places = list(found.submodule_search_locations or ()) if found else []
        where = origin or ", ".join(places)
        taken = f"is another package here: {where}" if where else "is not installed"
        return (
            f"the import name `{name}` {taken}. Kapok needs an environment of its own: "
            "python3 -m venv kapok-env && kapok-env/bin/pip install 'PATH/TO/kapok[hub]'. If "
            "PYTHONPATH is set, unset it first."
        )
    return ""


def _begins_with(path: str, words: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no import more
            return file.read(len(words)) == words
    except OSError:
        return False


def _refuse(command: str, problem: str) -> int:
    sys.stderr.write(f"{command}: {problem}\n")
    return 2
