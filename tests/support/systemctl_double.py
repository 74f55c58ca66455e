"""A `systemctl` for machines without systemd: starts one service of Type=notify, and waits for it.

It reads the unit and its drop-in as systemd does: the last ExecStart counts, an empty one clears.
When the service fails, its ExecStopPost runs with SERVICE_RESULT set. `install` puts it on a PATH.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNIT = "kapok-agent.service"


def install(folder: Path) -> Path:
    """Makes the folders of a machine; returns the folder for PATH."""
    for name in ("units", "runtime", "bin"):
        (folder / name).mkdir()
    path = folder / "bin" / "systemctl"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} "$@"\n')
    path.chmod(0o755)
    return path.parent


def stop(folder: Path) -> None:
    """Ends the service."""
    try:
        number = int((folder / "pid").read_text())
        os.kill(number, signal.SIGKILL)
    except (OSError, ValueError):
        return
    until = time.monotonic() + 60
    while is_alive(number) and time.monotonic() < until:
        time.sleep(0.02)  # noqa: TID251 - waits for another process


def is_alive(number: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def settings(folder: Path) -> dict[str, str]:
    """The settings that count."""
    files = [folder / "units" / UNIT, *sorted((folder / "runtime" / f"{UNIT}.d").glob("*.conf"))]
    found: dict[str, str] = {}
    for path in files:
        for line in path.read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals:
                found[name] = value or found.pop(name, "") * 0
    return found


def restart(folder: Path) -> int:
    """Starts the service again; 0 once it has said READY=1."""
    stop(folder)
    found, address = settings(folder), folder / "notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(0.1)
        process = subprocess.Popen(
            found["ExecStart"].split(),
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("ab"),
            start_new_session=True,
        )
        (folder / "pid").write_text(str(process.pid))
        until = time.monotonic() + float(found["TimeoutStartSec"])
        while process.poll() is None and time.monotonic() < until:
            try:
                if b"READY=1" in receiver.recv(4096):
                    return 0
            except TimeoutError:
                continue
    process.kill()
    process.wait()
    sys.stderr.write("Job for kapok-agent.service failed.\n")
    if "ExecStopPost" in found:
        command = found["ExecStopPost"].partition("-c '")[2].removesuffix("'")
        more = {"SERVICE_RESULT": "exit-code"}
        subprocess.run(["/bin/sh", "-c", command], env={**os.environ, **more}, check=False)
    return 1


def main(folder: Path, words: list[str]) -> int:
    """Runs one command."""
    if words[0] == "restart":
        return restart(folder)
    if words[0] == "is-active":
        return 0 if is_alive(int((folder / "pid").read_text())) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
