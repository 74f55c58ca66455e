"""`kapok hub`: backs up and restores the hub, accepts losses, and creates access tokens."""

import argparse
import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from scheduler.apiserver.auth.rbac import ROLES, Identity
from scheduler.apiserver.auth.tokens import TokenStore, write_kubeconfig
from scheduler.apiserver.backup import NotABackup, backup, restore
from scheduler.apiserver.base.errors import DamagedFile
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.cli import adopt
from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE, add_output_option
from scheduler.cli.support.output import print_error, print_json, print_text
from scheduler.recovery.adopt import keep_orders_after_restore
from scheduler.settings import data_directory

_DESCRIPTION = """Backs up, restores and opens the embedded hub. It keeps its objects in one SQLite
file. A backup is a consistent copy of that file and may be made while the hub runs; before a
restore, stop the hub. A token gives a person access with a role of fewer rights; the running hub
accepts a new token at once."""
_EPILOG = """examples:
  kapok hub backup /elsewhere/hub-monday.db
  kapok hub restore /elsewhere/hub-monday.db
  kapok hub adopt --lost ledger --dry-run
  kapok hub token --name alice --role tenant --namespace health > alice.kubeconfig
  kapok hub token --name audit --role auditor -o json
  kapok hub adopt --epoch

roles: """ + ", ".join(ROLES)
_EPILOG += "\nExit code: 0 done, 1 it could not be done, 2 wrong usage."
_ADOPT = "adopt"
_DATA_DIR_HELP = (
    "data directory of `kapok up` (its hub is in DIR/hub) or of `kapok serve-api` (default: "
    "$KAPOK_DATA_HOME, else ~/.local/share/kapok)"
)


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok hub`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="hub_command", metavar="COMMAND", required=True)
    for name, (purpose, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data-dir", metavar="DIR", help=_DATA_DIR_HELP)
        add_output_option(command)
        if name == "token":
            command.add_argument("--name", required=True, help="user name of the holder")
            command.add_argument(
                "--role", required=True, choices=list(ROLES), help="what the holder may do"
            )
            command.add_argument(
                "--namespace",
                action="append",
                default=[],
                help="namespace of the roles tenant and push; may be repeated",
            )
        else:
            command.add_argument("file", type=Path, metavar="FILE", help="the backup file")
    adopt.register(commands.add_parser(_ADOPT, help=adopt.PURPOSE))


def run(arguments: argparse.Namespace) -> int:
    """Runs backup, restore, token or adopt."""
    if arguments.hub_command == _ADOPT:
        return adopt.run(arguments)
    try:
        folder = _find_hub_folder(arguments.data_dir)
        return _COMMANDS[arguments.hub_command][1](arguments, folder)
    except (NotABackup, DamagedFile, DataDirectoryInUse, OSError, sqlite3.Error) as error:
        print_error(f"hub {arguments.hub_command}", error)
        return EXIT_NO


def _find_hub_folder(named: str | None) -> Path:
    """The directory of the hub's own files.

    Raises:
        FileNotFoundError: the data directory holds no hub.
    """
    root = data_directory(named)
    for folder in (root / "hub", root):
        if (folder / "kubeconfig").exists():
            return folder
    raise FileNotFoundError(
        f"{root} holds no hub; name the data directory of a hub with --data-dir DIR"
    )


def _backup(arguments: argparse.Namespace, folder: Path) -> int:
    count = backup(folder, arguments.file)
    return _print_answer(
        arguments, {"file": str(arguments.file), "objects": count, "backedUp": True}
    )


def _restore(arguments: argparse.Namespace, folder: Path) -> int:
    count = restore(folder, arguments.file)
    asyncio.run(keep_orders_after_restore(folder))
    return _print_answer(
        arguments, {"file": str(arguments.file), "objects": count, "restored": True}
    )


def _token(arguments: argparse.Namespace, folder: Path) -> int:
    if arguments.role == "tenant" and not arguments.namespace:
        print_error("hub token", "the role tenant needs --namespace, at least once")
        return EXIT_USAGE
    identity = Identity(arguments.name, arguments.role, tuple(arguments.namespace))
    token = TokenStore(folder / "tokens.json").get_or_create(identity)
    cluster = _read_cluster(folder / "kubeconfig")
    target = folder / f"kubeconfig-{arguments.name}"
    ca = cluster.get("certificate-authority-data", "")
    write_kubeconfig(target, name=arguments.name, url=cluster["server"], token=token, ca=ca)
    if arguments.output == "json":
        return _print_answer(arguments, {"name": arguments.name, "kubeconfig": str(target)})
    sys.stdout.write(target.read_text())
    return EXIT_GOOD


def _read_cluster(path: Path) -> dict[str, str]:
    """The address of the hub in its kubeconfig.

    Raises:
        DamagedFile: the file is not as the hub writes it.
    """
    try:
        cluster: dict[str, str] = json.loads(path.read_bytes())["clusters"][0]["cluster"]
        return {"server": str(cluster["server"]), **cluster}
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedFile(
            f"{path}: not the kubeconfig of a hub ({type(error).__name__}: {error}); "
            "the hub writes it again when it starts"
        ) from None


def _print_answer(arguments: argparse.Namespace, answer: dict[str, object]) -> int:
    if arguments.output == "json":
        print_json(answer)
    else:
        print_text(", ".join(f"{key}: {value}" for key, value in answer.items()))
    return EXIT_GOOD


_COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace, Path], int]]] = {
    "backup": ("copy all objects of the hub into a file; the hub may be running", _backup),
    "restore": ("replace all objects of the stopped hub by those of a backup", _restore),
    "token": ("create a token with a role, and print a kubeconfig with it", _token),
}
