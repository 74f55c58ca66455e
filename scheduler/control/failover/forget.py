"""Records in the ledger that an operator forgets a site which is gone for good.

`kapok site forget` writes its word to the Site, which only operators may do, and deletes the Site
once the condition `Forgotten` names the word: then the record is durable. A scheduler needs no
right to change or delete a Site for that. A word is recorded once; a scheduler that is killed
between the record and the condition may record it a second time.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.sites.left_behind import LeftBehind
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.migration import SiteShare, shares_in
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import Site
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.identities import numbered_pods_at
from scheduler.model.manifests.references import references_of
from scheduler.model.manifests.templates import group_kind
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.runtime.printable import printable

_log = logging.getLogger(__name__)

FORGET_ANNOTATION = "failover.kapok.dev/forget"
CONDITION = "Forgotten"
_LOOK_SECONDS = 0.5
_MAX_CHARACTERS, _MAX_ID, _MAX_BY = 4096, 64, 256
_CLAIM = "PersistentVolumeClaim"
_MAX_NAMED, _MAX_RECORDED = 64, 16
"""So many claims and pods of a workload are named for people, and in the record."""
_MAX_LISTED = 1000
"""So many workloads of a site are named in the record; the others are counted."""


class ForgetWord(NamedTuple):
    """The word of an operator.

    Attributes:
        id: of the word; the condition names it.
        by: who asked, by the name that the hub knows.
    """

    id: str
    by: str

    def to_text(self) -> str:
        """The value of the annotation."""
        return json.dumps({"id": self.id[:_MAX_ID], "by": self.by[:_MAX_BY]}, ensure_ascii=False)


def read_forget_word(annotations: Mapping[str, str]) -> ForgetWord | None:
    """The word on a Site; None: there is none that can be read."""
    text = annotations.get(FORGET_ANNOTATION, "")
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    word, by = read.get("id"), read.get("by")
    if not (isinstance(word, str) and isinstance(by, str) and word):
        return None
    return ForgetWord(printable(word)[:_MAX_ID], printable(by)[:_MAX_BY] or "unknown")


def left_of(workload: Workload, site: str, most: int = _MAX_NAMED) -> dict[str, Any] | None:
    """What of a workload is left behind at a site that is forgotten; None: nothing.

    Args:
        workload: as the hub has it, so of its present spec.
        site: the site.
        most: so many pods and claims are named; the others are counted.

    Returns:
        `workload`; `replicas`, those that run there by the status, also if they are leaving;
        `pods`, the names of those that have ordinals; `claims`, those that are known to be kept
        there, and those that the manifests and pods with ordinals have. `moreClaims` and `morePods`
        count what is not listed.
    """
    shares = shares_in(workload.status.placement.groups)
    share = shares.get(site)
    remains = next((one for one in workload.status.remains if one.site == site), None)
    if share is None and remains is None:
        return None
    replicas = 0 if share is None else share.replicas + share.leaving
    claims = [] if remains is None else list(remains.claims)
    pods: list[str] = []
    numbered: list[str] = []
    if share is not None:
        pods, numbered = numbered_pods_at(
            workload.spec.manifests,
            site=site if _is_named_for_site(workload, shares) else None,
            first=0 if share.ordinals is None else share.ordinals.first,
            count=min(replicas, most),
        )
        claims = list(dict.fromkeys((*claims, *claim_names_of(workload), *numbered)))
    more_pods = replicas - len(pods) if pods else 0
    more_claims = more_pods * len(numbered) // len(pods) if pods else 0
    return {
        "workload": workload.metadata.key,
        "replicas": replicas,
        "claims": claims[:most],
        "pods": pods,
        "moreClaims": more_claims + max(0, len(claims) - most),
        "morePods": more_pods,
    }


def claim_names_of(workload: Workload) -> list[str]:
    """The claims that a workload brings or that go along with it, sorted; its templates' not."""
    namespace, names = workload.metadata.namespace, set[str]()
    for one in workload.spec.manifests:
        if group_kind(one) == ("", _CLAIM):
            metadata = mapping_or_empty(one.get("metadata"))
            at, name = metadata.get("namespace"), str(metadata.get("name", ""))
            names.add(name if at in (None, "", namespace) else f"{at}/{name}")
    for reference in references_of(workload.spec.manifests, namespace):
        if reference.kind == _CLAIM:
            at = f"{reference.namespace}/" if reference.namespace else ""
            names.add(f"{at}{reference.name}")
    return sorted(names)


def _is_named_for_site(workload: Workload, shares: Mapping[str, SiteShare]) -> bool:
    """Whether each site has a set of its own, as far as spec and status say; a policy may too."""
    placement = workload.spec.placement
    if placement is not None and placement.identity is not None:
        return placement.identity == "PerSite"
    running = [one for one in shares.values() if one.replicas + one.leaving]
    # A set that is whole is at two sites only while it moves.
    is_moving = any(one.leaving or one.replaced_by for one in running)
    return len(running) > 1 and not is_moving and all(one.ordinals is None for one in running)


def all_left(
    workloads: Iterable[Workload], site: str, most: int = _MAX_NAMED
) -> list[dict[str, Any]]:
    """What is left behind at a site, by the name of the workload."""
    found = (left_of(one, site, most) for one in workloads)
    return sorted((one for one in found if one is not None), key=lambda one: str(one["workload"]))


@dataclass(slots=True, kw_only=True)
class ForgetRecord:
    """Records each word, and says so by a condition of the Site.

    Attributes:
        recorder: appends to the ledger.
        objects: the hub's objects.
        left: what is left of workloads at sites.
        clock: for the times.
        faults: handles what fails.
        epoch: gives the leader's epoch.
    """

    recorder: DecisionRecorder
    objects: HubObjects
    left: LeftBehind
    clock: Clock
    faults: Faults
    epoch: Callable[[], int]
    _shown: dict[str, Condition] = field(default_factory=dict, init=False)
    _has_failed: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Looks twice a second; runs until cancelled."""
        while True:
            with self.faults.barrier("forget record"):
                await self.sync()
            await self.clock.sleep(_LOOK_SECONDS)

    async def sync(self) -> None:
        """Records each word that is not recorded yet."""
        sites = self.objects.sites
        for name in [
            n for n, one in sites.items() if FORGET_ANNOTATION in one.metadata.annotations
        ]:
            site = sites.get(name)
            word = None if site is None else read_forget_word(site.metadata.annotations)
            if site is None or word is None or self._names(self.condition_of(name), word):
                continue
            try:
                await self._record(site, word)
            except NotRecorded as error:
                if not self._has_failed:
                    _log.warning("that %s is forgotten is not recorded yet: %s", name, error)
                self._has_failed = True
                return
            self._has_failed = False

    async def _record(self, site: Site, word: ForgetWord) -> None:
        name, now = site.metadata.name, self.clock.now()
        keys = dict.fromkeys((*self.objects.workloads_at(name), *self.left.workloads_at(name)))
        known = (self.objects.workloads.get(key) for key in keys)
        left = all_left((one for one in known if one is not None), name, _MAX_RECORDED)
        content = {
            "line": f"{word.by} forgets {name}, where {len(left)} workloads leave something",
            "site": name,
            "siteUid": site.metadata.uid,
            "word": word._asdict(),
            "workloads": len(left),
            "left": left[:_MAX_LISTED],
        }
        await self.recorder.record_forgotten_site(epoch=self.epoch(), at=now, content=content)
        self._shown[name] = Condition(
            type=CONDITION,
            status="True",
            reason="Recorded",
            message=f"{word.id}: recorded in the ledger; the Site may be deleted",
            last_transition_time=now.replace(microsecond=0),
        )

    def condition_of(self, name: str) -> Condition | None:
        """The condition `Forgotten` of a site; None: no word about it is recorded."""
        site = self.objects.sites.get(name)
        word = None if site is None else read_forget_word(site.metadata.annotations)
        if site is None or word is None:
            self._shown.pop(name, None)
            return None
        written = next((one for one in site.status.conditions if one.type == CONDITION), None)
        found = (one for one in (self._shown.get(name), written) if self._names(one, word))
        return next(found, None)

    @staticmethod
    def _names(condition: Condition | None, word: ForgetWord) -> bool:
        return condition is not None and condition.message.startswith(f"{word.id}:")
