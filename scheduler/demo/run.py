"""One demo from start to end."""

import asyncio
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scheduler.control.ports.hub import HubError
from scheduler.demo.actions import Pokes, read_pokes
from scheduler.demo.audit import Evidence, violations
from scheduler.demo.demo_status import Observer, Picture
from scheduler.demo.environment import Town, town
from scheduler.demo.export import HUB_KINDS, all_objects, export, member_objects
from scheduler.demo.folder import Folder
from scheduler.demo.view import View
from scheduler.runtime.clock import Clock

_LOOK_SECONDS = 0.3
_CALM_SECONDS = 1.5
"""A picture that stays the same for so long has settled."""


class Answer(Protocol):
    """Takes the answer of a demo."""

    def __call__(self, value: dict[str, Any], *, is_good: bool) -> None:
        """Called once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the demo is asked.

    Attributes:
        folder: where it lives.
        size: small or city.
        exit_when_settled: ends by itself.
        timeout_seconds: to settle.
        export_to: a folder for everything as files.
        is_kept: the folder stays; then it can be resumed.
    """

    folder: Path
    size: str
    exit_when_settled: bool
    timeout_seconds: float
    export_to: Path | None
    is_kept: bool


class Demo:
    """Runs a wish.

    Args:
        wish: what is asked.
        view: shows it.
        clock: for waiting.
        answer: gets the JSON value once, when settled or given up; good means that every workload
            runs, is done or says why not, and that no rule is broken.
    """

    def __init__(self, wish: Wish, view: View, clock: Clock, answer: Answer) -> None:
        self._wish, self._view, self._clock, self._answer = wish, view, clock, answer
        self._started = clock.monotonic()
        self._pokes = Pokes()

    async def run(self) -> None:
        """Runs until settled, or until cancelled.

        Raises:
            ChildError: a process did not come up.
            HubError: the hub refuses a sample.
            OSError: the export cannot be written.
        """
        folder = Folder(self._wish.folder.absolute())
        async with town(folder, self._wish.size, self._clock, self._view.say) as place:
            observer = Observer(place.hub, folder.hub)
            await self._sites_report(observer)
            self._view.say(f"handing in {len(place.samples.workloads)} workloads")
            await place.apply(place.samples.workloads)
            picture = await self._settled(observer, len(place.samples.workloads))
            await self._conclude(place, observer, picture)
            if not self._wish.exit_when_settled:
                await self._live(place, observer)

    @property
    def _seconds(self) -> float:
        return self._clock.monotonic() - self._started

    async def _sites_report(self, observer: Observer) -> None:
        while self._seconds < self._wish.timeout_seconds:
            picture = await self._look(observer)
            if picture and picture.sites and picture.reporting == len(picture.sites):
                return
            await self._clock.sleep(_LOOK_SECONDS)

    async def _settled(self, observer: Observer, workloads: int) -> Picture:
        """The first picture that stays; at the time-out, the last one."""
        last, calm_since = None, self._clock.monotonic()
        while True:
            picture = await self._look(observer)
            now = self._clock.monotonic()
            if picture is not None:
                key = [(w.name, w.phase, w.sites) for w in picture.workloads]
                if key != last:
                    last, calm_since = key, now
                complete = picture.is_settled and len(picture.workloads) >= workloads
                if complete and now - calm_since >= _CALM_SECONDS:
                    return picture
                if self._seconds > self._wish.timeout_seconds:
                    return picture
            await self._clock.sleep(_LOOK_SECONDS)

    async def _look(self, observer: Observer) -> Picture | None:
        """The picture now; None while the hub does not answer (it may be starting again)."""
        try:
            picture = await observer.look(self._clock.now())
        except HubError as error:
            self._view.say(f"the hub does not answer: {error}")
            return None
        self._view.show(picture)
        return picture

    async def _conclude(self, place: Town, observer: Observer, picture: Picture) -> None:
        """Looks for broken rules, exports, answers, and tells people what to try."""
        seconds = self._seconds
        hub = await all_objects(place.hub, HUB_KINDS)
        members = await member_objects(place.folder, place.samples.clusters)
        broken = violations(Evidence(hub, members, self._clock.now()))
        for sentence in broken:
            self._view.say(f"broken rule: {sentence}")
        if self._wish.export_to is not None:
            await export(self._wish.export_to, place.folder, hub, members)
            self._view.say(f"exported to {self._wish.export_to}")
            picture = await self._look(observer) or picture
        is_good = picture.is_good and not broken
        word = "settled" if picture.is_settled else "not settled"
        self._view.say(
            f"{word} after {seconds:.1f} s; {len(broken)} broken rules;"
            f" {place.children.memory_bytes() / 2**20:.0f} MiB in all processes"
        )
        self._answer(picture.as_json(violations=broken, seconds=seconds), is_good=is_good)
        if not self._wish.exit_when_settled:
            for line in things_to_try(place.folder, picture):
                self._view.say(line)

    async def _live(self, place: Town, observer: Observer) -> None:
        """Shows what happens, and does what `kapok demo poke` asks, until cancelled."""
        while True:
            self._take_up(place, read_pokes(place.folder.pokes))
            await self._look(observer)
            await self._clock.sleep(_LOOK_SECONDS)

    def _take_up(self, place: Town, pokes: Pokes) -> None:
        before, self._pokes = self._pokes, pokes
        for site in pokes.silent ^ before.silent:
            if site in place.samples.clusters:
                place.silence(site, is_silent=site in pokes.silent)
                self._view.say(f"{site} {'falls silent' if site in pokes.silent else 'is back'}")
        now, then = dict(pokes.grids), dict(before.grids)
        for zone in {z for z in now | then if now.get(z) != then.get(z)}:
            self._view.say(f"the grid of {zone} has {now.get(zone, 'its usual')} gCO2e per kWh")
            place.change_grid(zone, now.get(zone))


def kapok_command() -> str:
    """How `kapok` is typed here: by name when it is on PATH, else by its path."""
    beside = Path(sys.executable).with_name("kapok")
    found = shutil.which("kapok")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "kapok"
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))


def things_to_try(folder: Folder, picture: Picture) -> list[str]:
    """Commands that work when pasted, each with what it shows."""
    kapok = kapok_command()
    placed = next((w for w in picture.workloads if w.sites), None)
    refused = next((w for w in picture.workloads if w.phase == "Refused"), None)
    site = placed.sites[0].name if placed else picture.sites[0].name
    where, home = shlex.quote(str(folder.kubeconfig)), shlex.quote(str(folder.hub))
    environment = f"KUBECONFIG={where} KAPOK_DATA_HOME={home}"
    lines = [
        "now, in another terminal:",
        f"  export {environment}",
        f"  {kapok} kubectl get sites",
        f"  {kapok} kubectl get kw -A",
        f"  {kapok} kubectl --context {site} get pods -A",
    ]
    if placed:
        lines.append(f"  {kapok} explain {placed.namespace}/{placed.name}")
        lines.append(f"  {kapok} replay {placed.decision}")
    if refused:
        lines.append(f"  {kapok} kubectl describe kw -n {refused.namespace} {refused.name}")
    return [
        *lines,
        f"  {kapok} ledger verify",
        f"  {kapok} demo poke silence {site}",
        f"  {kapok} demo poke return {site}",
        "Ctrl-C ends everything.",
    ]


async def run_demo(wish: Wish, view: View, clock: Clock, answer: Answer) -> None:
    """Runs a demo, and takes its folder away when it is not to be kept."""
    try:
        with view:
            await Demo(wish, view, clock, answer).run()
    finally:
        if not wish.is_kept:
            await asyncio.to_thread(shutil.rmtree, wish.folder, ignore_errors=True)
