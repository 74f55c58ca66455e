"""`kapok keys`: replaces the hub's signing key while agents go on, and keeps an offline root."""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.output import print_error, print_json, print_notice, print_text
from scheduler.control.ports.hub import HubError
from scheduler.key_rotation.archives import sign_archive_file
from scheduler.key_rotation.key_files import (
    KEY_SET_FILE,
    KeyState,
    RotationRefused,
    certify,
    finish,
    make_root,
    prepare_next,
    read_key_state,
    read_secret_key,
    read_waiting,
    retire,
    trust_root,
)
from scheduler.recovery.adopt import name_key
from scheduler.recovery.signing_key import is_key_shared
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    DataDirectoryError,
    locked_data_directory,
)
from scheduler.services import open_hub_client
from scheduler.settings import Settings, SettingsError, data_directory, load_settings

_DESCRIPTION = """The hub signs orders with one key, which agents know. A rotation has three steps,
and at each of them agents that were away find their way:

  kapok keys rotate            makes the next key; the running hub announces it, agents keep both
  kapok keys rotate --finish   stop kapok up first: from its next start on the next key signs, and
                               the one before still vouches for it towards agents that were away
  kapok keys rotate --retire   the key before is no longer valid

Agents of versions before this one learn nothing: write the new key into their hub_keys beside the
old one before --finish. An offline root makes a stolen signing key harmless: agents that know the
root take only keys that it has certified."""
_EPILOG = """examples:
  kapok keys show                                 which keys are valid, and which sites lack them
  kapok keys rotate
  kapok keys sign kapok-agent-0.2.0-aarch64.tar.gz
                                                  writes FILE.sig, which kapok-agent upgrade checks
  kapok keys root init root.key                   on a machine without network; keep it in a safe
  kapok keys root trust ed25519:...               at the hub; sites that join from now on know it
  kapok keys root certify root.key hub.keyset.json
                                                  at the root; carry the file there and back

Exit code: 0 done, 1 not possible now, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok keys`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    commands = parser.add_subparsers(dest="keys_command", metavar="COMMAND", required=True)
    show = commands.add_parser("show", help="show the keys, and which sites do not know them yet")
    rotate = commands.add_parser("rotate", help="replace the signing key, in three steps")
    step = rotate.add_mutually_exclusive_group()
    step.add_argument("--finish", action="store_true", help="sign with the next key from now on")
    step.add_argument("--retire", action="store_true", help="the key before is no longer valid")
    rotate.add_argument(
        "--force", action="store_true", help="although some sites do not know the set of keys yet"
    )
    rotate.add_argument("--config", metavar="FILE", type=Path, help="settings of kapok up")
    for command in (show, rotate):
        add_data_dir_option(command)
        add_output_option(command)
    archive = commands.add_parser("sign", help="sign an archive of kapok-agent for its upgrade")
    archive.add_argument("archive", type=Path, metavar="FILE", help="as make agent-archive builds")
    archive.add_argument(
        "--key", type=Path, metavar="FILE", help="the signing key, where it is not in the data dir"
    )
    add_data_dir_option(archive)
    add_output_option(archive)
    root = commands.add_parser("root", help="make and use an offline root")
    actions = root.add_subparsers(dest="root_command", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make a root key, on a machine without network")
    init.add_argument("file", type=Path, metavar="FILE", help="the new file of the key")
    trust = actions.add_parser("trust", help="name the root's public key at the hub")
    trust.add_argument("key", metavar="KEY", help="ed25519:BASE64, as init prints it")
    add_data_dir_option(trust)
    sign = actions.add_parser("certify", help="certify a set of keys, at the root")
    sign.add_argument("file", type=Path, metavar="FILE", help="the file of the root key")
    sign.add_argument("key_set", type=Path, metavar="SET", help=f"{KEY_SET_FILE} of the hub")
    for command in (init, trust, sign):
        add_output_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Runs one of the commands."""
    command = arguments.keys_command
    act = _ROOT_ACTIONS[arguments.root_command] if command == "root" else _ACTIONS[command]
    try:
        facts, lines = act(arguments)
    except (
        DataDirectoryError,
        HubError,
        OSError,
        RotationRefused,
        SettingsError,
        ValueError,
    ) as error:
        print_error(f"keys {command}", error)
        return EXIT_NO
    if arguments.output == "json":
        print_json(facts)
    else:
        print_text("\n".join(lines))
    return EXIT_GOOD


_Result = tuple[dict[str, Any], list[str]]


def _show(arguments: argparse.Namespace) -> _Result:
    root = data_directory(arguments.data_dir)
    key = read_secret_key(root / HUB_KEY_FILE)
    if key is None:
        raise RotationRefused(f"{root / HUB_KEY_FILE}: there is no signing key; kapok up makes it")
    return _result_of(root, read_key_state(root, key.public))


def _rotate(arguments: argparse.Namespace) -> _Result:
    root, settings = data_directory(arguments.data_dir), load_settings(arguments.config)
    if is_key_shared(settings.hub):
        raise RotationRefused(
            "replicas share the key (hub.signing_key_file, hub.signing_key_secret): write the next "
            "key into hub_keys of every agent, and then replace it there"
        )
    waiting = read_waiting(root)
    if (arguments.finish or arguments.retire) and waiting != [] and not arguments.force:
        named = ", ".join((waiting or [])[:10]) or "no scheduler has announced them yet"
        raise RotationRefused(
            f"not all sites know the keys yet ({named}); let kapok up run until kapok keys show "
            "names none, write the keys into hub_keys of agents of older versions, or use --force: "
            "a site that is left behind runs on and takes no order until it has learned"
        )
    if arguments.finish:
        return asyncio.run(_finish(root, settings))
    if arguments.retire:
        return _result_of(root, retire(root))
    state = prepare_next(root)
    if not state.is_certified:
        print_notice(f"carry {root / KEY_SET_FILE} to the root: kapok keys root certify")
    return _result_of(root, state)


async def _finish(root: Path, settings: Settings) -> _Result:
    with locked_data_directory(root) as directory:
        state = finish(root)
        opened = open_hub_client(settings, directory, on_hub_fault=lambda _where: None)
        async with opened as (_, client):
            await name_key(client, str(state.signing))
    return _result_of(root, state)


def _result_of(root: Path, state: KeyState) -> _Result:
    waiting = read_waiting(root) if state.announced else []
    facts = {
        "signing": str(state.signing),
        "next": str(state.next) if state.next else None,
        "previous": str(state.previous.public) if state.previous else None,
        "root": str(state.root) if state.root else None,
        "sequence": state.announced.sequence if state.announced else 0,
        "announced": list(state.announced.keys) if state.announced else [],
        "certified": state.is_certified,
        "waiting": waiting,
    }
    lines = [f"signing   {state.signing}"]
    lines += [f"next      {state.next}"] if state.next else []
    lines += [f"previous  {state.previous.public}"] if state.previous else []
    lines += [f"root      {state.root}"] if state.root else []
    if state.announced:
        lines.append(f"announced {len(state.announced.keys)} keys, set {state.announced.sequence}")
        lines += [] if state.is_certified else ["the root has not certified the set yet"]
        known = "no scheduler has announced it" if waiting is None else ", ".join(waiting)
        lines.append(f"waiting   {known or 'none: every site knows'}")
    return facts, lines


def _sign_archive(arguments: argparse.Namespace) -> _Result:
    path = arguments.key or data_directory(arguments.data_dir) / HUB_KEY_FILE
    key = read_secret_key(path)
    if key is None:
        raise RotationRefused(f"{path}: there is no signing key; name its file with --key")
    signature, digest = sign_archive_file(key, arguments.archive)
    facts = {"signature": str(signature), "sha256": digest, "key": str(key.public)}
    return facts, [str(signature), f"carry it beside the archive; its SHA-256 is {digest}"]


def _init_root(arguments: argparse.Namespace) -> _Result:
    key = make_root(arguments.file)
    text = f"{arguments.file}: keep it in a safe, without network"
    return {"file": str(arguments.file), "key": str(key.public)}, [str(key.public), text]


def _trust_root(arguments: argparse.Namespace) -> _Result:
    key = trust_root(data_directory(arguments.data_dir), arguments.key)
    text = "sites that join from now on know the root; write it into root_keys of the others"
    return {"root": str(key)}, [text]


def _certify(arguments: argparse.Namespace) -> _Result:
    key = read_secret_key(arguments.file)
    if key is None:
        raise RotationRefused(f"{arguments.file}: no such file")
    one = certify(arguments.key_set, key)
    facts = {"sequence": one.sequence, "keys": list(one.keys), "root": one.root}
    return facts, [f"certified set {one.sequence}:", *one.keys]


_ACTIONS: dict[str, Callable[[argparse.Namespace], _Result]] = {
    "show": _show,
    "rotate": _rotate,
    "sign": _sign_archive,
}
_ROOT_ACTIONS: dict[str, Callable[[argparse.Namespace], _Result]] = {
    "init": _init_root,
    "trust": _trust_root,
    "certify": _certify,
}
