"""`kapok-agent upgrade FILE`: another version in place of the one that runs, with a way back."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agents.config.load import AgentSettingsError, load_settings
from agents.runtime.data_dir import IdentityError
from agents.upgrade.archive import UpgradeError
from agents.upgrade.replace import Upgrade, go_back, print_progress
from agents.upgrade.self_check import check_start
from agents.upgrade.service import Service
from agents.upgrade.versions import Versions

EXIT_GOOD: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
_CONFIG: Final = Path("/etc/kapok-agent/agent.yaml")

_EPILOG: Final = """examples:
  sudo kapok-agent upgrade kapok-agent-0.2.0-aarch64.tar.gz
  sudo kapok-agent upgrade kapok-agent-0.2.0-aarch64.tar.gz --sha256 4f0c...
  sudo kapok-agent upgrade --back                          the version before again

The archive is signed at the hub (kapok keys sign FILE); its signature lies beside it. The new
version is installed beside the one that runs, starts once with a copy of the data, then runs as
the service. If it is not ready in time, or ends soon, the version before runs again. Exit codes:
0 done, 1 not done and the version before runs (the message says why), 2 wrong arguments"""


def main(config: Path | None, words: Sequence[str]) -> int:
    """Runs `kapok-agent upgrade`.

    Args:
        config: the settings file that was named before `upgrade`; None: none.
        words: what follows `upgrade`.
    """
    parser = _parser()
    arguments = parser.parse_args(words)
    config = arguments.config or config or _CONFIG
    if arguments.self_check:
        return _self_check(config, arguments.self_check)
    if bool(arguments.archive) == arguments.back:
        parser.error("name an archive, or --back")
    try:
        sentence = _act(arguments, config)
    except AgentSettingsError as error:
        return _fail(arguments.output, "usage", str(error), EXIT_USAGE)
    except (UpgradeError, IdentityError) as error:
        return _fail(arguments.output, "refused", str(error), EXIT_NO)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}; the version before runs on"
        return _fail(arguments.output, "file", text, EXIT_NO)
    except KeyboardInterrupt:
        text = "ended on the way; the version before runs on"
        return _fail(arguments.output, "interrupted", text, EXIT_INTERRUPTED)
    is_json = arguments.output == "json"
    answer = json.dumps({"done": True, "message": sentence}, ensure_ascii=False)
    sys.stdout.write(f"{answer if is_json else sentence}\n")
    return EXIT_GOOD


def _act(arguments: argparse.Namespace, config: Path) -> str:
    versions = Versions.of_this_program()
    if arguments.back:
        return go_back(versions, Service())
    return Upgrade(
        archive=arguments.archive,
        config=config.absolute(),
        settings=load_settings(config, os.environ),
        versions=versions,
        wanted_sha256=arguments.sha256,
        ready_seconds=arguments.timeout,
        one_way=arguments.one_way,
        say=print_progress,
    ).run()


def _self_check(config: Path, data_dir: Path) -> int:
    try:
        check_start(config, data_dir, os.environ)
    except Exception as error:  # noqa: BLE001 - whatever it is, this version does not start
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return EXIT_NO
    return EXIT_GOOD


def _fail(output: str | None, reason: str, text: str, code: int) -> int:
    if output == "json":
        facts = {"done": False, "reason": reason, "message": text}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    sys.stderr.write(f"kapok-agent: upgrade: {text}\n")
    return code


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:  # noqa: PLR2004 - as the help says
        raise ValueError(text)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kapok-agent upgrade",
        description="Replaces this version by that of an archive, or goes back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", nargs="?", type=Path, metavar="FILE", help="the archive")
    parser.add_argument(
        "--back", action="store_true", help="make the version before the current one"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings of the agent (default: {_CONFIG})"
    )
    parser.add_argument(
        "--sha256",
        default="",
        metavar="DIGEST",
        help="the digest of the archive, where no signature is at hand",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="how long the new version may take until it is ready, 1 to 3600 (default: 120)",
    )
    parser.add_argument(
        "--one-way",
        action="store_true",
        help="although this version could not read the journal afterwards",
    )
    parser.add_argument("--self-check", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=["json"], help="print one JSON object")
    return parser
