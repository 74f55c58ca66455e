"""`kapok-agent join TOKEN`: one line for the technician at the machine."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from agents.config.load import AgentSettingsError
from agents.joining.https_client import JoinFailed
from agents.joining.join import JoinPlan, ask_whether_received, has_joined, join
from agents.joining.unit import (
    CREDENTIAL,
    UNIT_FOLDER,
    UNIT_NAME,
    InstallError,
    ServiceUnit,
    check_may_install,
    is_systemd_running,
    start_service,
)
from agents.protocol.joining.token import TokenError, parse_token
from agents.runtime.data_dir import IdentityError, write_durably

EXIT_GOOD: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
_ROOT_DATA_DIR: Final = "/var/lib/kapok-agent"
_ROOT_CONFIG: Final = "/etc/kapok-agent/agent.yaml"
_POLL_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 15.0
_UNIT_MODE: Final = 0o644
_SHOWN_LINES: Final = 5

_EPILOG: Final = """examples:
  sudo kapok-agent join kapok1... --install      join, and run as a service from now on
  sudo kapok-agent join kapok1... --install --kubeconfig /etc/rancher/k3s/k3s.yaml
                                                 the same, for a site with a cluster: takes work
  kapok-agent join kapok1... --data-dir ./edge   join only; the last line says how to run it
  sudo kapok-agent join kapok1... --again        a new key, after kapok site revoke

The operator's kapok site join prints the token. It works once, for a short time; if anything fails
on the way, run the same line again. The machine makes its own key, which never leaves it. It needs
to reach the hub at two ports: joining (8884) and the broker (8883).
exit codes: 0 joined and received, 1 not (the message says why), 2 wrong arguments"""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is printed at the end."""

    sentence: str
    facts: dict[str, Any]


def main(words: Sequence[str]) -> int:
    """Runs `kapok-agent join`.

    Args:
        words: what follows `join`.
    """
    arguments = _parser().parse_args(words)
    try:
        outcome = _run(arguments)
    except (TokenError, AgentSettingsError, InstallError) as error:
        return _fail(arguments, "usage", str(error), EXIT_USAGE)
    except JoinFailed as error:
        return _fail(arguments, error.reason, str(error), EXIT_NO)
    except IdentityError as error:
        return _fail(arguments, "data-dir", str(error), EXIT_NO)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}; mend that, and run the same line again"
        return _fail(arguments, "file", text, EXIT_NO)
    except KeyboardInterrupt:
        return _fail(arguments, "interrupted", "left by Ctrl-C; run it again", EXIT_INTERRUPTED)
    sys.stdout.write(
        json.dumps(outcome.facts, ensure_ascii=False) + "\n"
        if arguments.output == "json"
        else outcome.sentence + "\n"
    )
    return EXIT_GOOD


def _fail(arguments: argparse.Namespace, reason: str, text: str, code: int) -> int:
    if arguments.output == "json":
        facts = {"done": False, "reason": reason, "message": text}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    sys.stderr.write(f"kapok-agent: join: {text}\n")
    return code


def _run(arguments: argparse.Namespace) -> _Outcome:
    token = parse_token("".join(arguments.token))
    plan = JoinPlan(
        token=token,
        data_dir=Path(arguments.data_dir).absolute(),
        config=Path(arguments.config).absolute(),
        extra=_extra_settings(arguments),
        again=arguments.again,
    )
    unit = _unit_of(arguments, plan) if arguments.install else None
    if unit is not None:
        check_may_install()
        unit.text()  # refused before the token is used
    if has_joined(plan):
        _say(f"this machine has joined {token.site} before; --again makes a new key")
    else:
        join(plan)
        _say(f"the hub certifies this machine as {token.site}; waiting for its first report there")
    if unit is not None:
        write_durably(UNIT_FOLDER / UNIT_NAME, unit.text().encode(), mode=_UNIT_MODE)
        if is_systemd_running():
            start_service()
            _wait_until_received(plan, arguments.timeout, None)
            return _outcome(plan, f"{UNIT_NAME} runs, and starts with the machine")
    with _Trial(plan.config) as trial:
        _wait_until_received(plan, arguments.timeout, trial)
    if unit is not None:
        return _outcome(plan, f"start it with: systemctl enable --now {UNIT_NAME}")
    return _outcome(plan, f"run it with: kapok-agent --config {plan.config}")


def _outcome(plan: JoinPlan, rest: str) -> _Outcome:
    token = plan.token
    facts = {
        "site": token.site,
        "done": True,
        "received": True,
        "hub": str(plan.server),
        "config": str(plan.config),
        "dataDir": str(plan.data_dir),
    }
    return _Outcome(
        f"{token.site} has joined: the hub at {token.host} receives its reports; {rest}", facts
    )


class _Trial:
    """Runs the agent until the hub receives its report, for a machine without a service yet."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "agents.cli", "--config", str(self._config)]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--parent-pid", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    @property
    def has_ended(self) -> bool:
        """Whether the agent has ended by itself."""
        return self._process is None or self._process.poll() is not None

    def last_lines(self) -> str:
        """The last lines of its log."""
        self._log.seek(0)
        lines = self._log.read()[-8192:].decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_SHOWN_LINES:])


def _wait_until_received(plan: JoinPlan, timeout_seconds: float, trial: _Trial | None) -> None:
    """Waits until the hub says that the site reports.

    Raises:
        JoinFailed: it has not in this time, or the agent has ended.
    """
    deadline, note = time.monotonic() + timeout_seconds, ""
    while True:
        try:
            answer = ask_whether_received(plan)
            if answer.received:
                if answer.note:
                    _say(answer.note)
                return
            note = answer.note
        except JoinFailed as error:
            if not error.may_retry:
                raise
            note = str(error)
        if trial is not None and trial.has_ended:
            raise JoinFailed("agent", f"the agent has ended:\n{trial.last_lines()}")
        if time.monotonic() >= deadline:
            log = f"; its last lines:\n{trial.last_lines()}" if trial else ""
            raise JoinFailed(
                "not-received",
                f"{plan.token.site} has its certificate, but the hub received no report within "
                f"{timeout_seconds:g} s ({note or 'it says nothing'}); check the way to the broker "
                f"with kapok-agent --config {plan.config} doctor{log}",
            )
        time.sleep(_POLL_SECONDS)  # noqa: TID251 - a command that waits for another machine


def _extra_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.kubeconfig:
        return {}
    path = Path(arguments.kubeconfig).absolute()
    if not path.is_file():
        raise AgentSettingsError(f"--kubeconfig {path}: there is no such file")
    named = CREDENTIAL if arguments.install and is_systemd_running() else str(path)
    return {"cluster": {"source": "kubeconfig", "kubeconfig": named}}


def _unit_of(arguments: argparse.Namespace, plan: JoinPlan) -> ServiceUnit:
    program = shutil.which(sys.argv[0]) or shutil.which("kapok-agent") or sys.argv[0]
    kubeconfig = Path(arguments.kubeconfig).absolute() if arguments.kubeconfig else None
    return ServiceUnit(
        program=Path(program).absolute(),
        config=plan.config,
        data_dir=plan.data_dir,
        kubeconfig=kubeconfig,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    is_root = os.geteuid() == 0
    own = Path.home() / ".local" / "share" / "kapok-agent"
    parser = argparse.ArgumentParser(
        prog="kapok-agent join",
        description="Lets this machine join as the agent of a site.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "token", nargs="+", metavar="TOKEN", help="as kapok site join prints it; spaces are ignored"
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help=f"write the systemd unit {UNIT_NAME}, and start it",
    )
    parser.add_argument(
        "--data-dir",
        default=_ROOT_DATA_DIR if is_root else str(own),
        metavar="DIR",
        help="where key and certificate are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        default=_ROOT_CONFIG if is_root else str(own / "agent.yaml"),
        metavar="FILE",
        help="the settings file to write; other settings in it stay (default: %(default)s)",
    )
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="of the site's own cluster, so that it takes work"
    )
    parser.add_argument(
        "--again", action="store_true", help="join with a new key, although it has joined before"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait until the hub receives its report (default: 60)",
    )
    parser.add_argument("-o", "--output", choices=["json"], help="print one JSON object")
    return parser
