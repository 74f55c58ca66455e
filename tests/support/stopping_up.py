"""`kapok up` started and stopped again and again: SIGTERM reaches its whole process group.

Imports once and forks, because most of a start is the import. Prints one JSON object:
`python -m tests.support.stopping_up COUNT FOLDER`.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from scheduler.cli.entry import main
from scheduler.cli.up_service import serve  # noqa: F401 - imported before the forks, for all

_LONGEST_LIFE_SECONDS = 0.15
_STOP_WITHIN_SECONDS = 60.0


def stop_often(count: int, folder: Path) -> dict[str, int]:
    """Starts and stops it `count` times; how often it ended well, ended badly, and hung."""
    chance = random.Random(count)  # noqa: S311 - moments, nothing secret
    found = {"stopped": 0, "failed": 0, "hung": 0}
    for _ in range(count):
        found[_stop_once(folder, chance.random() * _LONGEST_LIFE_SECONDS)] += 1
    return found


def _stop_once(folder: Path, life_seconds: float) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        os.dup2(writer, 1)
        os._exit(main(["up", "--data-dir", "./city", "-o", "json"]))
    os.close(writer)
    with os.fdopen(reader) as output:
        is_ready = bool(output.readline())
    time.sleep(life_seconds)  # noqa: TID251 - a real process is stopped at any moment
    os.killpg(child, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "stopped" if is_ready and status == 0 else "failed"
        time.sleep(0.01)  # noqa: TID251 - see above
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(stop_often(int(sys.argv[1]), Path(sys.argv[2]))) + "\n")
