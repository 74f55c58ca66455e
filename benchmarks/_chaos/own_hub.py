"""The hub's own programs as work of the fleet: they run where their pods run, and nowhere else.

Broker and schedulers are the pods of one workload that Kapok itself places. So a site that loses
its power takes them with it, and nothing but the disk of an agent can bring them back (a circular
start); and an order can end the very scheduler that gave it. Objects and ledger are kept elsewhere,
as a database with a disk of its own is.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks._chaos.checker.sight import Violation
from benchmarks._chaos.site import ChaosSite

if TYPE_CHECKING:
    from benchmarks._chaos.world import RunningScheduler, World

NAME = "kapok-hub"
_PROMISE = 8
"""What runs is withdrawn only after its replacement runs."""
_LOST = 7
"""Nothing that is accepted is lost."""
_BACK_WITHIN_SECONDS = 120.0
"""The agents start what their disks hold, and no scheduler is needed for that."""


def own_workload() -> dict[str, Any]:
    """The Workload whose pods are a scheduler and the broker."""
    labels = {"app": NAME}
    container = {
        "name": "main",
        "image": "registry.example/kapok:1",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": NAME, "namespace": "city"},
        "spec": {
            "dataClass": "general-1",
            "priority": 1000,
            "imagePlatforms": ["linux/amd64"],
            "replicas": 1,
            "manifests": [manifest],
            "placement": {},
        },
    }


@dataclass(slots=True)
class OwnHub:
    """Starts and kills broker and schedulers with the pods of the workload.

    Attributes:
        has_moved_in: its pods ran once; before, the first scheduler is started by hand.
        broker_at: the site where the broker runs.
        outages: how often no site ran it.
        down_since: since when none does; None: one does.
        violations: what broke a promise since they were taken.
    """

    has_moved_in: bool = False
    broker_at: str = ""
    outages: int = 0
    down_since: float | None = None
    violations: list[Violation] = field(default_factory=list)
    _is_reported: bool = False
    _hosts: "dict[str, RunningScheduler]" = field(default_factory=dict)

    async def step(self, world: "World") -> None:
        """Has broker and schedulers be what the pods are now."""
        now = world.clock.monotonic()
        ready = [site.name for site in world.sites if _runs_it(site, now)]
        if not self.has_moved_in:
            if not ready or not world.schedulers:
                return
            self.has_moved_in, self.broker_at = True, ready[0]
            self._hosts[ready[0]] = world.schedulers[0]
        for site in [one for one in self._hosts if one not in ready]:
            gone = self._hosts.pop(site)
            if gone in world.schedulers:
                await world.kill_scheduler(gone)
        for site in ready:  # a container that ended starts again, as a kubelet has it
            if self._hosts.get(site) not in world.schedulers:
                self._hosts[site] = world.start_scheduler()
        if self.broker_at not in ready:
            self._move_broker(world, ready)
        self._judge(world, now, is_up=bool(ready))

    def _move_broker(self, world: "World", ready: list[str]) -> None:
        """The broker ends; where it starts again its disk is an older one."""
        if world.broker.is_up:
            world.broker.stop()
        self.broker_at = ready[0] if ready else ""
        if ready:
            world.broker.start(rolls_back=True)
            for site in world.sites:
                site.connect()

    def _judge(self, world: "World", now: float, *, is_up: bool) -> None:
        if is_up:
            self.down_since, self._is_reported = None, False
        if is_up or self._is_reported:
            return
        if self.down_since is None:
            self.outages, self.down_since = self.outages + 1, now
        # A site that has its power and was ordered to run it has to, without any scheduler.
        since = max(self.down_since, *(site.on_since for site in world.sites))
        if now - since > _BACK_WITHIN_SECONDS and all(site.is_running for site in world.sites):
            holds = [site.name for site in world.sites if _is_ordered(site)]
            promise = _LOST if holds else _PROMISE
            why = f"no scheduler and no broker run; on the disks of {', '.join(holds) or 'no site'}"
            self.violations.append(Violation(promise=promise, at=now, what=NAME, why=why))
            self._is_reported = True

    def take_violations(self) -> list[Violation]:
        """What broke a promise since the last call; each once."""
        found, self.violations = self.violations, []
        return found

    def host(self, world: "World", number: int) -> ChaosSite | None:
        """One of the sites where it runs; None: none does."""
        now = world.clock.monotonic()
        hosts = [site for site in world.sites if _runs_it(site, now)]
        return hosts[number % len(hosts)] if hosts else None


def _runs_it(site: ChaosSite, now: float) -> bool:
    return site.is_running and any(
        pods.ready(now) > 0 for order_id, pods in site.cluster.pods.items() if _is_own(order_id)
    )


def _is_ordered(site: ChaosSite) -> bool:
    index = site.disk.index
    return index is not None and any(_is_own(entry.id) for entry in index.orders)


def _is_own(order_id: str) -> bool:
    return order_id.split("/")[2:3] == [NAME]
