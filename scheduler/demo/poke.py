"""`kapok demo poke WHAT`.

Makes something happen to a demo that runs, and says what to look at.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scheduler.control.ports.hub import KAPOK_RESOURCES, SITES, ApiResource, HubError, NotFound
from scheduler.demo.actions import DIRTY_GCO2_PER_KWH, DemoActions, read_actions, write_actions
from scheduler.demo.folder import DemoFolder, read_json
from scheduler.demo.samples import load_samples
from scheduler.hub.client import HubClient, open_hub
from scheduler.settings import DATA_HOME, data_directory

FIELD_MANAGER = "kapok-demo-poke"
_RESOURCES: dict[str, ApiResource] = {one.kind: one for one in KAPOK_RESOURCES}


_EPILOG = """what you will see:
  silence gz-nansha-edge  after 10 s `kapok kubectl get sites` says READY False with the
                          age of the last report; no new work; what runs there stays
  return gz-nansha-edge   READY True again
  cordon shaoguan         new work is kept away, reason: cordoned; uncordon ends it
  dirty-grid CN-GD        its sites report 900 gCO2e per kWh: new work avoids them where
                          carbon has a price; clean-grid ends it
  submit workload.yaml    a workload of your own: `kapok kubectl get kw -A -w`"""


class DemoActionError(ValueError):
    """There is no such demo, site or zone; the message says which there are."""


@dataclass(frozen=True, slots=True)
class _Action:
    """One thing that can be done.

    Attributes:
        argument_name: name of its argument.
        purpose: for --help.
        perform: does it, and says what will be seen.
    """

    argument_name: str
    purpose: str
    perform: Callable[[DemoFolder, argparse.Namespace], Awaitable[str]]


def add_poke_command(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Adds `run_poke` and all that can be done."""
    parser = commands.add_parser(
        "poke",
        prog="kapok demo poke",
        usage="kapok demo poke [--data-dir DIR] WHAT ARGUMENT",
        help="make something happen to a demo that runs",
        description="Makes something happen to a demo that runs, and says what to look at.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="of the demo (default: newest)"
    )
    what = parser.add_subparsers(dest="poke", metavar="WHAT", required=True, prog="kapok demo poke")
    for name, one in ACTIONS.items():
        command = what.add_parser(name, help=one.purpose, description=one.purpose)
        command.add_argument("argument", metavar=one.argument_name)


async def run_poke(arguments: argparse.Namespace) -> int:
    """Does it.

    Raises:
        PokeError: there is no such demo, site, zone or file.
    """
    folder = DemoFolder(find_demo(arguments.data_dir))
    try:
        said = await ACTIONS[arguments.poke].perform(folder, arguments)
    except HubError as error:
        sys.stderr.write(f"kapok demo poke: {error}\n")
        return 1
    sys.stdout.write(said + "\n")
    return 0


def find_demo(data_dir: Path | None) -> Path:
    """The folder of a demo that runs: the named one, $KAPOK_DATA_HOME's, else the newest.

    Raises:
        PokeError: none runs there.
    """
    home = os.environ.get(DATA_HOME)
    if data_dir is not None:
        candidates = [data_dir]
    elif home and (Path(home).parent / "demo.json").exists():
        candidates = [Path(home).parent]
    else:
        found = data_directory(None).glob("demo-*/demo.json")
        candidates = sorted((path.parent for path in found), key=_modified_at)
    running = [path for path in candidates if _is_running(path)]
    if not running:
        raise DemoActionError(
            "no demo runs here; start one with `kapok demo`, or name it: --data-dir DIR"
        )
    return running[-1].absolute()


def _modified_at(path: Path) -> float:
    return (path / "demo.json").stat().st_mtime


def _is_running(path: Path) -> bool:
    pid = read_json(path / "demo.json").get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _zones_by_site(folder: DemoFolder) -> dict[str, str]:
    """Site -> grid zone."""
    sites = load_samples(str(read_json(folder.state_file)["size"])).sites
    return {name: str(o["spec"].get("energy", {}).get("gridZone", "")) for name, o in sites.items()}


def _checked_site(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    name, known = str(arguments.argument), _zones_by_site(folder)
    if name not in known:
        raise DemoActionError(f"{name}: no such site here; there are {', '.join(known)}")
    return name


def _change_actions(folder: DemoFolder, change: Callable[[DemoActions], DemoActions]) -> None:
    write_actions(folder.actions_file, change(read_actions(folder.actions_file)))


async def _silence(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    site = _checked_site(folder, arguments)
    _change_actions(folder, lambda pokes: pokes.with_silent(site))
    return (
        f"The agent of {site} is being ended. After some 10 s `kapok kubectl get sites` says"
        f" READY False and a growing REPORT-AGE. No new work goes to {site}; what runs there stays."
    )


async def _return(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    site = _checked_site(folder, arguments)
    _change_actions(folder, lambda pokes: pokes.without_silent(site))
    return f"The agent of {site} is starting; in a few seconds READY is True again."


async def _cordon(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    return await _set_cordon(folder, arguments, is_cordoned=True)


async def _uncordon(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    return await _set_cordon(folder, arguments, is_cordoned=False)


async def _set_cordon(
    folder: DemoFolder, arguments: argparse.Namespace, *, is_cordoned: bool
) -> str:
    site = _checked_site(folder, arguments)
    async with open_hub(folder.hub_kubeconfig) as hub:
        await hub.merge_patch(SITES, site, {"spec": {"cordon": is_cordoned}})
    if not is_cordoned:
        return f"{site} takes new work again."
    return f"{site} takes no new work (reason: cordoned); what runs there stays."


async def _dirty_grid(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone = _checked_zone(folder, arguments)
    _change_actions(folder, lambda pokes: pokes.with_grid(zone, DIRTY_GCO2_PER_KWH))
    return (
        f"The sites of {zone} report {DIRTY_GCO2_PER_KWH:g} gCO2e per kWh in a few seconds: see"
        " INTENSITY of `kapok kubectl get sites`. New work avoids them where carbon has a price."
    )


async def _clean_grid(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone = _checked_zone(folder, arguments)
    _change_actions(folder, lambda pokes: pokes.with_grid(zone, None))
    return f"The sites of {zone} report their usual intensity again in a few seconds."


def _checked_zone(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone, known = str(arguments.argument), sorted(set(_zones_by_site(folder).values()))
    if zone not in known:
        raise DemoActionError(f"{zone}: no such grid zone here; there are {', '.join(known)}")
    return zone


async def _submit(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    path = Path(arguments.argument)
    objects = _read_objects(path)
    async with open_hub(folder.hub_kubeconfig) as hub:
        names = [await _apply(hub, path, item) for item in objects]
    return f"Handed in: {', '.join(names)}. See `kapok kubectl get kw -A -w`."


def _read_objects(path: Path) -> list[Any]:
    try:
        return [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]
    except (OSError, yaml.YAMLError) as error:
        raise DemoActionError(f"{path}: {error}") from error


async def _apply(hub: HubClient, path: Path, item: Any) -> str:  # noqa: ANN401 - any YAML
    kind = item.get("kind") if isinstance(item, dict) else None
    resource = _RESOURCES.get(str(kind))
    if resource is None:
        raise DemoActionError(
            f"{path}: {kind or 'no object'}: one of {', '.join(_RESOURCES)} is expected"
        )
    if resource.namespaced:
        item["metadata"].setdefault("namespace", "default")
    try:
        made = await hub.apply(resource, item, field_manager=FIELD_MANAGER)
    except NotFound as error:
        raise DemoActionError(f"{path}: {error}") from error
    return f"{kind} {made['metadata']['name']}"


ACTIONS: dict[str, _Action] = {
    "silence": _Action("SITE", "end a site's agent: the site falls silent", _silence),
    "return": _Action("SITE", "let a silenced site come back", _return),
    "cordon": _Action("SITE", "keep new work away from a site", _cordon),
    "uncordon": _Action("SITE", "let new work come again", _uncordon),
    "dirty-grid": _Action("ZONE", "a grid zone burns coal: 900 gCO2e per kWh", _dirty_grid),
    "clean-grid": _Action("ZONE", "a grid zone is as usual again", _clean_grid),
    "submit": _Action("FILE", "hand in a workload of your own", _submit),
}
"""All that can be done, by the word that is typed."""
