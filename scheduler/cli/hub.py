"""`kapok hub`: back up and restore the embedded hub, and give out tokens."""

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from scheduler.apiserver.auth.rbac import ROLES, Identity
from scheduler.apiserver.auth.tokens import TokenStore, write_kubeconfig
from scheduler.apiserver.backup import NotABackup, backup, restore
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.settings import data_directory

EXIT_GOOD, EXIT_NO, EXIT_USAGE = 0, 1, 2
_DESCRIPTION = """The embedded hub keeps its objects in one SQLite file. A backup is a copy of it as
of one instant, also while the hub runs; a restore needs the hub stopped. Tokens open the hub for
people with fewer rights than yours; the running hub takes a new one at once."""
_EPILOG = """examples:
  kapok hub backup /elsewhere/hub-monday.db
  kapok hub restore /elsewhere/hub-monday.db
  kapok hub token --name alice --role tenant --namespace health > alice.kubeconfig
  kapok hub token --name audit --role auditor -o json

roles: """ + ", ".join(ROLES)
_DATA_DIR_HELP = (
    "data directory of `kapok up` (its hub is in DIR/hub), or of `kapok serve-api` (default: "
    "$KAPOK_DATA_HOME, else ~/.local/share/kapok)"
)


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok hub`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="hub_command", metavar="COMMAND", required=True)
    for name, (purpose, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data-dir", metavar="DIR", help=_DATA_DIR_HELP)
        command.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")
        if name == "token":
            command.add_argument("--name", required=True, help="who will hold the token")
            command.add_argument("--role", required=True, choices=list(ROLES))
            command.add_argument(
                "--namespace", action="append", default=[], help="where; may be repeated"
            )
        else:
            command.add_argument("file", type=Path, help="the backup")


def run(arguments: argparse.Namespace) -> int:
    """Runs one of backup, restore and token; 1 when it could not be done, 2 for a wrong call."""
    try:
        folder = _find_hub_folder(arguments.data_dir)
        return _COMMANDS[arguments.hub_command][1](arguments, folder)
    except (NotABackup, DataDirectoryInUse, FileNotFoundError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"kapok hub {arguments.hub_command}: {error}\n")
        return EXIT_NO


def _find_hub_folder(named: str | None) -> Path:
    """The directory of the hub's own files.

    Raises:
        FileNotFoundError: there is no hub.
    """
    root = data_directory(named)
    for folder in (root / "hub", root):
        if (folder / "kubeconfig").exists():
            return folder
    raise FileNotFoundError(f"{root}: no hub has run here; name its directory with --data-dir")


def _backup(arguments: argparse.Namespace, folder: Path) -> int:
    count = backup(folder, arguments.file)
    return _print_answer(
        arguments, {"file": str(arguments.file), "objects": count, "backedUp": True}
    )


def _restore(arguments: argparse.Namespace, folder: Path) -> int:
    count = restore(folder, arguments.file)
    return _print_answer(
        arguments, {"file": str(arguments.file), "objects": count, "restored": True}
    )


def _token(arguments: argparse.Namespace, folder: Path) -> int:
    if arguments.role == "tenant" and not arguments.namespace:
        sys.stderr.write("kapok hub token: a tenant needs --namespace, at least once\n")
        return EXIT_USAGE
    identity = Identity(arguments.name, arguments.role, tuple(arguments.namespace))
    token = TokenStore(folder / "tokens.json").get_or_create(identity)
    cluster = json.loads((folder / "kubeconfig").read_text())["clusters"][0]["cluster"]
    target = folder / f"kubeconfig-{arguments.name}"
    ca = cluster.get("certificate-authority-data", "")
    write_kubeconfig(target, name=arguments.name, url=cluster["server"], token=token, ca=ca)
    if arguments.output == "json":
        return _print_answer(arguments, {"name": arguments.name, "kubeconfig": str(target)})
    sys.stdout.write(target.read_text())
    return EXIT_GOOD


def _print_answer(arguments: argparse.Namespace, answer: dict[str, object]) -> int:
    if arguments.output == "json":
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(", ".join(f"{key}: {value}" for key, value in answer.items()) + "\n")
    return EXIT_GOOD


_COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace, Path], int]]] = {
    "backup": ("copies all objects of the hub into a file, also while it runs", _backup),
    "restore": ("puts the objects of a backup in place of the present ones", _restore),
    "token": ("prints a kubeconfig with a token of a role", _token),
}
