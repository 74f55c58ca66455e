"""`kapok demo poke ACTION`: changes a running demo, and prints what to look at."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.control.ports.hub import KAPOK_RESOURCES, SITES, ApiResource, HubError, NotFound
from scheduler.demo.actions import DIRTY_GCO2_PER_KWH, DemoActions, read_actions, write_actions
from scheduler.demo.folder import DemoFolder, read_json
from scheduler.demo.samples import load_samples
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents
from scheduler.runtime.printable import printable
from scheduler.settings import DATA_HOME, data_directory

FIELD_MANAGER = "kapok-demo-poke"
_RESOURCES: dict[str, ApiResource] = {one.kind: one for one in KAPOK_RESOURCES}


_EPILOG = """examples, and what you will see:
  silence gz-nansha-edge  after about 10 s `kapok kubectl get sites` shows READY False and a
                          growing REPORT-AGE; its work is Degraded (SiteSilent), its ready
                          replicas are ?, and after five minutes they are replaced elsewhere
  return gz-nansha-edge   READY is True again
  cordon shaoguan         the site gets no new replicas (reason: cordoned) until uncordon
  dirty-grid CN-GD        the sites of the zone report 900 gCO2e per kWh until clean-grid; new
                          replicas avoid them where carbon has a price
  submit workload.yaml    your own workload; watch it with `kapok kubectl get kw -A -w`

Exit code: 0 done, 1 the hub refused, 2 wrong usage."""


class DemoActionError(ValueError):
    """The demo, site, zone or file does not exist or cannot be used; the message says what does."""


@dataclass(frozen=True, slots=True)
class _Action:
    """One subcommand of `kapok demo poke`.

    Attributes:
        argument_name: name of its argument in the help.
        purpose: one line for the help.
        perform: carries it out, and returns what the user will see.
    """

    argument_name: str
    purpose: str
    perform: Callable[[DemoFolder, argparse.Namespace], Awaitable[str]]


def add_poke_command(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Adds the command `poke` with its subcommands."""
    parser = commands.add_parser(
        "poke",
        prog="kapok demo poke",
        usage="kapok demo poke ACTION ARGUMENT [--data-dir DIR]",
        help="change a running demo: silence a site, make a grid dirty, submit a workload",
        description="Changes a running demo, and prints what to look at.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data_dir(parser)
    what = parser.add_subparsers(
        dest="poke", metavar="ACTION", required=True, prog="kapok demo poke"
    )
    for name, one in ACTIONS.items():
        command = what.add_parser(name, help=one.purpose, description=one.purpose)
        command.add_argument("argument", metavar=one.argument_name)
        _add_data_dir(command)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`; where it is not given, what a parser before has read stays."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the demo (default: the newest running demo)",
    )


async def run_poke(arguments: argparse.Namespace) -> int:
    """Carries out one action; returns the exit code.

    Raises:
        DemoActionError: the demo, site, zone or file does not exist or cannot be used.
    """
    folder = DemoFolder(find_demo(arguments.data_dir))
    try:
        message = await ACTIONS[arguments.poke].perform(folder, arguments)
    except HubError as error:
        sys.stderr.write(printable(f"kapok demo poke: {error}") + "\n")
        return 1
    sys.stdout.write(printable(message) + "\n")
    return 0


def find_demo(data_dir: Path | None) -> Path:
    """The folder of a running demo.

    Args:
        data_dir: the folder; None: that of $KAPOK_DATA_HOME, else of the newest running demo.

    Raises:
        DemoActionError: no demo runs there.
    """
    home = os.environ.get(DATA_HOME)
    if data_dir is not None:
        # The folder of the demo's hub, as $KAPOK_DATA_HOME names it, stands for its demo.
        candidates = [data_dir.absolute(), data_dir.absolute().parent]
        candidates = [path for path in candidates if (path / "demo.json").exists()][:1]
    elif home and (Path(home).parent / "demo.json").exists():
        candidates = [Path(home).parent]
    else:
        found = data_directory(None).glob("demo-*/demo.json")
        candidates = sorted((path.parent for path in found), key=_modified_at)
    running = [path for path in candidates if _is_running(path)]
    if not running:
        raise DemoActionError(
            "no running demo found; start one with `kapok demo`, or name its folder with "
            "--data-dir DIR"
        )
    return running[-1].absolute()


def _modified_at(path: Path) -> float:
    return (path / "demo.json").stat().st_mtime


def _is_running(path: Path) -> bool:
    pid = read_json(path / "demo.json").get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except OSError:
        return False
    return True


def _zones_by_site(folder: DemoFolder) -> dict[str, str]:
    """Grid zone by site; empty: the site names none."""
    sites = load_samples(str(read_json(folder.state_file)["size"])).sites
    return {name: str(o["spec"].get("energy", {}).get("gridZone", "")) for name, o in sites.items()}


def _checked_site(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    name, known = str(arguments.argument), _zones_by_site(folder)
    if name not in known:
        raise DemoActionError(f"site {name} not found; sites of this demo: {', '.join(known)}")
    return name


def _change_actions(folder: DemoFolder, change: Callable[[DemoActions], DemoActions]) -> None:
    write_actions(folder.actions_file, change(read_actions(folder.actions_file)))


async def _silence(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    site = _checked_site(folder, arguments)
    _change_actions(folder, lambda actions: actions.with_silent(site))
    return (
        f"The agent of {site} is being stopped. After about 10 s `kapok kubectl get sites` shows"
        f" READY False and a growing REPORT-AGE. The workloads of {site} are Degraded (SiteSilent)"
        " because nothing is known of them; after five minutes (failover.after_seconds) they are"
        " replaced elsewhere, where another site can take them."
    )


async def _return(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    site = _checked_site(folder, arguments)
    _change_actions(folder, lambda actions: actions.without_silent(site))
    return f"The agent of {site} is starting; READY is True again in a few seconds."


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
        return f"{site} accepts new replicas again."
    return f"{site} accepts no new replicas (reason: cordoned); running ones stay."


async def _dirty_grid(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone = _checked_zone(folder, arguments)
    _change_actions(folder, lambda actions: actions.with_grid(zone, DIRTY_GCO2_PER_KWH))
    return (
        f"The sites of {zone} will report {DIRTY_GCO2_PER_KWH:g} gCO2e per kWh in a few seconds:"
        " see INTENSITY in `kapok kubectl get sites`. New replicas avoid them where carbon has a"
        " price."
    )


async def _clean_grid(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone = _checked_zone(folder, arguments)
    _change_actions(folder, lambda actions: actions.with_grid(zone, None))
    return f"The sites of {zone} will report their usual carbon intensity in a few seconds."


def _checked_zone(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    zone, known = str(arguments.argument), sorted(set(_zones_by_site(folder).values()))
    if zone not in known:
        raise DemoActionError(
            f"grid zone {zone} not found; grid zones of this demo: {', '.join(known)}"
        )
    return zone


async def _submit(folder: DemoFolder, arguments: argparse.Namespace) -> str:
    path = Path(arguments.argument)
    objects = _read_objects(path)
    async with open_hub(folder.hub_kubeconfig) as hub:
        names = [await _apply(hub, path, item) for item in objects]
    return f"Applied {', '.join(names)}. Watch it with `kapok kubectl get kw -A -w`."


def _read_objects(path: Path) -> list[Any]:
    try:
        return [document.value for document in load_documents(path.read_text(encoding="utf-8"))]
    except OSError as error:
        raise DemoActionError(f"{path}: {error.strerror}") from error
    except (YamlDocumentError, UnicodeDecodeError) as error:
        raise DemoActionError(f"{path}, {error}") from None


async def _apply(hub: HubClient, path: Path, item: Any) -> str:  # noqa: ANN401 - any YAML
    kind = item.get("kind") if isinstance(item, dict) else None
    resource = _RESOURCES.get(str(kind))
    if resource is None:
        raise DemoActionError(
            f"{path}: unsupported kind {kind or '(none)'}; expected one of {', '.join(_RESOURCES)}"
        )
    if resource.namespaced:
        item["metadata"].setdefault("namespace", "default")
    try:
        made = await hub.apply(resource, item, field_manager=FIELD_MANAGER)
    except NotFound as error:
        raise DemoActionError(f"{path}: {error}") from error
    return f"{kind} {made['metadata']['name']}"


ACTIONS: dict[str, _Action] = {
    "silence": _Action("SITE", "stop a site's agent, so that the site does not report", _silence),
    "return": _Action("SITE", "start the agent of a silenced site again", _return),
    "cordon": _Action("SITE", "keep new replicas away from a site", _cordon),
    "uncordon": _Action("SITE", "allow new replicas at a cordoned site again", _uncordon),
    "dirty-grid": _Action(
        "ZONE", "set the carbon intensity of a grid zone to 900 gCO2e per kWh", _dirty_grid
    ),
    "clean-grid": _Action(
        "ZONE", "set the carbon intensity of a grid zone back to the usual value", _clean_grid
    ),
    "submit": _Action("FILE", "apply your own workload", _submit),
}
"""The subcommands of `kapok demo poke` by name."""
