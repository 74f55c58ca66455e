"""Where the commands start: says plainly when another package has taken one of our import names.

`scheduler` and `agents` are names that other packages use too. Where one of them comes first on the
path, or was installed over ours, Python would only say that some module of ours is missing. This
module has a name of its own, so it starts in any case.
"""

import sys
from importlib.util import find_spec

_FIRST_WORDS = {"scheduler": '"""Kapok: ', "agents": '"""The agent at a site'}
"""How the source of each package of ours begins."""


def kapok() -> int:
    """Runs `kapok`, which is `kubectl kapok` too."""
    problem = import_problem()
    if problem:
        return _refuse("kapok", problem)
    from scheduler.cli.entry import main  # noqa: PLC0415 - only when it is ours

    return main()


def kapok_agent() -> int:
    """Runs `kapok-agent`."""
    problem = import_problem("agents")
    if problem:
        return _refuse("kapok-agent", problem)
    from agents.cli import main  # noqa: PLC0415 - only when it is ours

    return main()


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
