"""Records decisions together with the fleet that they were based on.

The content of a record is `{"demand", "terms", "decision", "fleet", "spec"}`: values of the model
as canonical JSON, and the digests of the fleet's state and of the workload's spec. For a workload
that was not accepted it is `{"workload", "refusal", "fleet", "spec"}`. `replay` needs nothing else.
There is a scarcity price for each resource at each site, and many decisions share the list: it is
stored once, under its digest, which is `terms.scarcityVersion`. So is the list of what a batch
assigns: a decision that follows it names its digest as `assignment`. What could end for a workload
(`demand.victims`) is work of all tenants, so it is a blob too, which the content names as
`victims`. The list of a plan that was kept for a loss is stored with the first decision that
follows it; the decision names its digest as `assignment`, and the loss as `planOf`.

Equal decisions that were made in one step are one record of kind "equal-decisions": `demand`,
`terms` and `fleet` as above, `decisions` (`EqualDecisions`) for `decision`, `specs` for `spec`, and
in `shares` what each workload has of its own: the index of its spec, and its incarnation. Where
they follow the list of a batch or a plan, it has `assignment` and `planOf` as above, for all.

Where orders of the workload have objects that go along, the content names them in `references`,
with the digest of each, or the version of a Secret at the hub. Records before have none.

Both also hold the workload's `incarnation`, so that an object which was restored without its status
finds its orders again, until a record of kind "deletion" ends that life. A decision that is
recorded and whose status was not written has no effect; a record of kind "not-carried-out" names
it in `undoes`. What held evictions back, and the words of operators about it, are records of kind
"evictions", of which each says what is in force from its time on. A site that an operator forgets,
and what is left behind there, is a record of kind "site-forgotten"; a drill has
two of kind "drill", one as it begins and one with its report. A ledger that is new
because its file was lost says so in a record of kind "loss", until one of kind "adoption", which
`kapok hub adopt` appends.

A file that cannot be written (a full disk, a lock) ends nothing: nothing is recorded, so nothing is
decided, until it can be written again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from scheduler.control.ports.ledger import (
    AcceptedSpec,
    PreparedRecord,
    RecordedIdentity,
    RecordedShare,
    RecordReference,
)
from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.fleet import FleetState, FleetTree
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import (
    DECISION_KIND,
    DRILL_KIND,
    DRILL_SUBJECT,
    EQUAL_KIND,
    EVICTIONS_KIND,
    EVICTIONS_SUBJECT,
    FORGOTTEN_KIND,
    FORGOTTEN_SUBJECT,
    NOT_CARRIED_OUT_KIND,
    REFERENCE_SETS,
    REFERENCES,
    SHARES,
    UNDOES,
    UNDOES_INDEX,
    VICTIMS,
    LedgerEntry,
    Receipt,
    Record,
    in_effect,
    parse_id,
    undone_ids,
)
from scheduler.model.decision import EqualDecisions
from scheduler.model.demand.assignment import AssignedWorkload
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.preemption import NO_VICTIMS, POSSIBLE_VICTIMS
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

REFUSAL_KIND = "refusal"
BATCH_KIND = "batch"
BATCHES_SUBJECT = "batches"
"""The subject of records of batches, which are about no single workload."""
DELETION_KIND = "deletion"
LOSS_KIND = "loss"
ADOPTION_KIND = "adoption"
HUB_SUBJECT = "hub"
"""The subject of records about what the hub lost, which are about no single workload."""
ASSIGNMENT = "assignment"
"""The digest of a list of what a batch assigns: in the batch its own, else the one followed."""
PLAN = "plan"
"""In what is given to record: the list of the kept plan that a decision follows. In the record it
is a blob, which `ASSIGNMENT` names."""
_NOTHING_FOLLOWED: Mapping[str, Any] = MappingProxyType({})
_LOST = "lost"
_LEDGER = "ledger"
_CHECK_INTERVAL_SECONDS = 1.0
_MOST_AFTER = 8
"""A process that is killed leaves at most two records whose status is not written."""
_INCARNATION = "incarnation"


class LedgerRecorder:
    """Implements `scheduler.control.ports.ledger.DecisionRecorder`.

    Attributes:
        problem: why nothing can be recorded now; "" while records are written. Until `watch` finds
            that the file can be written again, records fail at once.
    """

    def __init__(self, ledger: Ledger, *, is_ledger_lost: bool = False) -> None:
        """Records into a ledger.

        Args:
            ledger: where it is recorded.
            is_ledger_lost: the file was lost, and this ledger is new; its first record says so.
        """
        self._ledger = ledger
        self._is_loss_unrecorded = is_ledger_lost
        self._is_loss_sent = False
        self._fleet_tree = FleetTree()
        self._stored_scarcity_version = ""
        self._failed = asyncio.Event()
        self._unrecorded: list[LedgerEntry] = []
        self._packing = asyncio.Lock()
        self._packed_prices: Blob | None = None
        self._packed_plan: Blob | None = None
        self.problem = ""

    async def watch(
        self, clock: Clock, *, on_failure: Callable[[], None], on_recovery: Callable[[], None]
    ) -> None:
        """After a failure, checks the file until it can be written again; runs until cancelled."""
        while True:
            await self._failed.wait()
            on_failure()
            _log.error("nothing is decided until the ledger can be written: %s", self.problem)
            while self.problem:
                await clock.sleep(_CHECK_INTERVAL_SECONDS)
                try:
                    await self._ledger.check_writable()
                    self.problem = ""
                except LedgerUnavailableError as error:
                    self.problem = str(error)
            self._failed.clear()
            _log.info("the ledger can be written again")
            on_recovery()

    async def _append(self, entry: LedgerEntry) -> Receipt:
        if self.problem:
            raise LedgerUnavailableError(self.problem)
        try:
            if self._is_loss_unrecorded and not self._is_loss_sent:
                await self._append_loss(entry)
            while self._unrecorded:
                await self._append_undone(self._unrecorded.pop())
            return await self._ledger.append(entry)
        except LedgerUnavailableError as error:
            self.problem = str(error)
            self._failed.set()
            raise

    async def _append_loss(self, first: LedgerEntry) -> None:
        """Appends that this ledger is new; entries that come meanwhile are behind it already."""
        self._is_loss_sent = True
        try:
            await self._ledger.append(_loss_entry(first.epoch, first.at))
            self._is_loss_unrecorded = False
        finally:
            self._is_loss_sent = False

    async def _append_undone(self, entry: LedgerEntry) -> None:
        """Appends what could not be recorded when it happened; it is kept if that fails."""
        try:
            await self._ledger.append(entry)
        except BaseException:
            self._unrecorded.append(entry)
            raise

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Sets the facts of a site; None removes it."""
        if facts is None:
            self._fleet_tree.remove(site)
        else:
            self._fleet_tree.put(site, facts)

    def absorb_facts(self) -> None:
        """Encodes the facts that were set since the last record, so that the next one need not."""
        self._fleet_tree.absorb()

    async def record(self, **facts: Any) -> RecordReference:  # noqa: ANN401 - those of `prepare`
        """Prepares and appends a decision or a refusal; returns when it is durable.

        Args:
            facts: the arguments of `prepare`.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        return await self.prepare(**facts)()

    def prepare(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
        incarnation: str = "",
    ) -> PreparedRecord:
        """Prepares a decision or a refusal with the fleet of this moment.

        The entry holds every blob that no durable record holds yet, also those that entries before
        it bring which are not durable yet: one of them that fails leaves no gap.
        """
        state = self._fleet_tree.current_state()
        spec_blob = blob_of(spec)
        content, victims = _without_victims(content)
        content, terms = _without_price_list(content)
        plan: tuple[AssignedWorkload, ...] = content.get(PLAN, ())
        content = {name: value for name, value in content.items() if name != PLAN}
        if incarnation:
            content = {**content, _INCARNATION: incarnation}
        versions = [terms.scarcity_version if terms else "", str(content.get(ASSIGNMENT, ""))]
        entry = LedgerEntry(
            kind=DECISION_KIND if "decision" in content else REFUSAL_KIND,
            subject=subject,
            epoch=epoch,
            at=at,
            content={**content, "fleet": state.digest, "spec": spec_blob.digest},
            refs=[
                state.digest,
                spec_blob.digest,
                *filter(None, versions),
                *(one.digest for one in victims),
            ],
            blobs=(*state.blobs, spec_blob, *victims),
        )
        return partial(self._append_prepared, entry, state, terms, plan)

    def prepare_equal(
        self,
        *,
        epoch: int,
        at: datetime,
        demand: Demand,
        terms: Terms,
        decisions: EqualDecisions,
        shares: Sequence[RecordedShare],
        followed: Mapping[str, Any] = _NOTHING_FOLLOWED,
    ) -> list[PreparedRecord]:
        """Prepares the one record of equal decisions with the fleet of this moment.

        Returns:
            A function for each; the first that is called appends the record for all.
        """
        state = self._fleet_tree.current_state()
        specs, recorded_shares = _specs_and_shares(shares)
        common = msgspec.structs.replace(demand, key=f"{demand.namespace}/", uid="")
        content, priced = _without_price_list({"demand": common, "terms": terms})
        versions = [priced.scarcity_version] if priced else []
        versions += [str(followed[ASSIGNMENT])] if ASSIGNMENT in followed else []
        plan: tuple[AssignedWorkload, ...] = followed.get(PLAN, ())
        entry = LedgerEntry(
            kind=EQUAL_KIND,
            subject=f"{demand.namespace}/*",
            epoch=epoch,
            at=at,
            content={
                **content,
                **{name: value for name, value in followed.items() if name != PLAN},
                "decisions": decisions,
                SHARES: recorded_shares,
                **_with_reference_sets(shares, recorded_shares),
                "specs": list(specs),
                "fleet": state.digest,
                "line": _line_of_equal(decisions),
            },
            refs=[state.digest, *specs, *versions],
            blobs=(*state.blobs, *specs.values()),
        )
        shared = _SharedAppend(partial(self._append_prepared, entry, state, priced, plan))
        return [partial(shared.append_share, index) for index in range(len(shares))]

    async def _append_prepared(
        self,
        entry: LedgerEntry,
        state: FleetState,
        terms: Terms | None,
        plan: tuple[AssignedWorkload, ...] = (),
    ) -> RecordReference:
        if terms:
            prices = await self._price_blobs(terms)
            entry = replace(entry, blobs=(*entry.blobs, *prices))
        if plan:
            listed = await self._plan_blob(plan, str(entry.content[ASSIGNMENT]))
            entry = replace(entry, blobs=(*entry.blobs, listed))
        receipt = await self._append(entry)
        self._fleet_tree.mark_stored(state)
        if terms:
            self._stored_scarcity_version = terms.scarcity_version
        return RecordReference(receipt.id, receipt.hash)

    async def record_not_carried_out(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        decision: str,
        why: str,
        incarnation: str,
    ) -> None:
        """Appends that a recorded decision had no effect; if that fails, later."""
        record_id, index = parse_id(decision)
        content: dict[str, Any] = {UNDOES: record_id}
        if index is not None:
            content[UNDOES_INDEX] = index
        content["line"] = f"{decision} was not carried out: {why}"
        if incarnation:
            content[_INCARNATION] = incarnation
        entry = LedgerEntry(
            kind=NOT_CARRIED_OUT_KIND, subject=subject, epoch=epoch, at=at, content=content
        )
        try:
            await self._append(entry)
        except LedgerUnavailableError:
            self._unrecorded.append(entry)

    def decisions_after(self, subject: str, shown: str) -> tuple[str, ...]:
        """The ids of decisions and refusals about a workload that came after one, oldest first.

        Raises:
            LedgerCorruptError: a record cannot be read.
        """
        found: list[str] = []
        for one in in_effect(self._ledger.newest_first(subject), self.undone_unrecorded()):
            if one.id == shown or (one.kind == DELETION_KIND and not shown):
                return tuple(reversed(found))
            if one.kind in (DECISION_KIND, REFUSAL_KIND):
                found.append(one.id)
            if len(found) > _MOST_AFTER:  # no process leaves so many: the status is an old one
                return ()
        return () if shown else tuple(reversed(found))

    async def record_deletion(
        self, *, subject: str, epoch: int, at: datetime, incarnation: str
    ) -> None:
        """Appends that a workload is gone, unless that is recorded; returns when it is durable.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        last = next(self._ledger.newest_first(subject), None)
        if last is None or last.kind == DELETION_KIND:
            return
        content = {_INCARNATION: incarnation, "line": "the workload was deleted"}
        await self._append(
            LedgerEntry(kind=DELETION_KIND, subject=subject, epoch=epoch, at=at, content=content)
        )

    async def record_batch(
        self,
        *,
        epoch: int,
        at: datetime,
        terms: Terms,
        assigned: tuple[AssignedWorkload, ...] = (),
        content: dict[str, Any],
    ) -> RecordReference:
        """Appends the result of a batch, with its prices and what it assigns.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        prices = await self._price_blobs(terms) if terms.scarcity else ()
        version = terms.scarcity_version if terms.scarcity else ""
        content = {**content, "scarcityVersion": version}
        refs, blobs = [version] if version else [], [*prices]
        if assigned:
            listed = await asyncio.to_thread(blob_of, assigned)
            content[ASSIGNMENT] = listed.digest
            refs.append(listed.digest)
            blobs.append(listed)
        entry = LedgerEntry(
            kind=BATCH_KIND,
            subject=BATCHES_SUBJECT,
            epoch=epoch,
            at=at,
            content=content,
            refs=refs,
            blobs=tuple(blobs),
        )
        receipt = await self._append(entry)
        self._stored_scarcity_version = version or self._stored_scarcity_version
        return RecordReference(receipt.id, receipt.hash)

    async def record_evictions(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        """Appends what holds evictions back from a time on.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        await self._append(
            LedgerEntry(
                kind=EVICTIONS_KIND,
                subject=EVICTIONS_SUBJECT,
                epoch=epoch,
                at=at,
                content=content,
            )
        )

    async def record_forgotten_site(
        self, *, epoch: int, at: datetime, content: dict[str, Any]
    ) -> None:
        """Appends that an operator forgets a site, and what is left behind there.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        await self._append(
            LedgerEntry(
                kind=FORGOTTEN_KIND,
                subject=FORGOTTEN_SUBJECT,
                epoch=epoch,
                at=at,
                content=content,
            )
        )

    async def record_drill(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        """Appends that a drill begins, or its report.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        await self._append(
            LedgerEntry(kind=DRILL_KIND, subject=DRILL_SUBJECT, epoch=epoch, at=at, content=content)
        )

    def last_drill(self) -> Mapping[str, Any] | None:
        """The content of the newest record of a drill; None: there is none.

        Raises:
            LedgerCorruptError: the record cannot be read.
        """
        last = next(self._ledger.newest_first(DRILL_SUBJECT), None)
        return None if last is None else last.content

    def last_evictions(self) -> Mapping[str, Any] | None:
        """The content of the newest record of what holds evictions back; None: there is none.

        Raises:
            LedgerCorruptError: the record cannot be read.
        """
        last = next(self._ledger.newest_first(EVICTIONS_SUBJECT), None)
        return None if last is None else last.content

    async def _price_blobs(self, terms: Terms) -> tuple[Blob, ...]:
        """The price list as a blob, packed on another thread; empty if it is stored already."""
        version = terms.scarcity_version
        if version == self._stored_scarcity_version:
            return ()
        async with self._packing:  # many decisions that share new prices pack them once
            packed = self._packed_prices
            if packed is None or packed.digest != version:
                packed = await asyncio.to_thread(blob_of, terms.scarcity)
        if packed.digest != version:
            raise ValueError("terms.scarcityVersion is not the digest of the scarcity prices")
        self._packed_prices = packed
        return (packed,)

    async def _plan_blob(self, plan: tuple[AssignedWorkload, ...], version: str) -> Blob:
        """A kept plan as a blob, packed on another thread; once for all decisions in a row."""
        async with self._packing:
            packed = self._packed_plan
            if packed is None or packed.digest != version:
                packed = await asyncio.to_thread(blob_of, plan)
            if packed.digest != version:
                raise ValueError("the version of a plan is not the digest of its list")
            self._packed_plan = packed
        return packed

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        """The spec and demand of the newest decision that was carried out; None when there is none.

        Raises:
            LedgerCorruptError: the record cannot be read.
        """
        records = in_effect(self._ledger.newest_first(subject), self.undone_unrecorded())
        for one in records:
            if one.kind == DELETION_KIND:
                return None  # what comes before it is about another workload
            if one.kind == DECISION_KIND and one.content.get("spec"):
                return self._accepted_of(one)
        return None

    def _accepted_of(self, record: Record) -> AcceptedSpec:
        spec = msgspec.convert(self._ledger.blob(str(record.content["spec"])), WorkloadSpec)
        demand = msgspec.json.encode(record.content.get("demand"))
        return AcceptedSpec(spec, msgspec.json.decode(demand, type=Demand))

    def undone_unrecorded(self) -> set[str]:
        """Ids of decisions that had no effect, which the ledger cannot say yet."""
        return undone_ids(self._unrecorded)

    def identity_of(self, subject: str) -> RecordedIdentity:
        """What is recorded of the workload that has a name.

        Raises:
            LedgerCorruptError: the record cannot be read.
        """
        last = next(self._ledger.newest_first(subject), None)
        if last is None:
            return RecordedIdentity(is_complete=not self.is_history_lost())
        if last.kind == DELETION_KIND:
            return RecordedIdentity()
        incarnation = str(last.content.get(_INCARNATION, ""))
        if incarnation:
            return RecordedIdentity(incarnation=incarnation)
        newest = self._newest_about_loss()
        is_adopted = bool(newest and newest.kind == ADOPTION_KIND and newest.seq > last.seq)
        return RecordedIdentity(is_complete=False, is_adopted=is_adopted)

    def is_history_lost(self) -> bool:
        """Whether the file was lost, and the operator has not accepted that yet."""
        if self._is_loss_unrecorded:
            return True
        newest = self._newest_about_loss()
        return newest is not None and newest.kind == LOSS_KIND

    def _newest_about_loss(self) -> Record | None:
        """The newest record that the ledger was lost, or that this was accepted."""
        after = 0
        found: Record | None = None
        while records := self._ledger.records(after, subject=HUB_SUBJECT):
            after = records[-1].seq
            about_ledger = [one for one in records if _LEDGER in (one.content.get(_LOST) or ())]
            found = about_ledger[-1] if about_ledger else found
        return found


class _SharedAppend:
    """Appends one record for several decisions: the first that asks does it, the others wait."""

    def __init__(self, append: PreparedRecord) -> None:
        self._append = append
        self._appended: asyncio.Future[RecordReference] | None = None

    async def append_share(self, index: int) -> RecordReference:
        """Returns the reference of a share when the record is durable.

        Raises:
            NotRecorded: nothing was recorded, of no share.
        """
        if self._appended is None:
            self._appended = asyncio.get_running_loop().create_future()
            try:
                self._appended.set_result(await self._append())
            except asyncio.CancelledError:
                self._appended.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - each learns why, below
                self._appended.set_exception(error)
        return replace(await asyncio.shield(self._appended), index=index)


def _specs_and_shares(
    shares: Sequence[RecordedShare],
) -> tuple[dict[str, Blob], list[dict[str, Any]]]:
    """The different specs by digest, and for each share what is its own of the record."""
    specs: dict[str, Blob] = {}
    number_of: dict[str, int] = {}
    found: list[dict[str, Any]] = []
    packed: WorkloadSpec | None = None
    number = 0
    for one in shares:
        if packed is None or (
            one.spec is not packed and one.spec != packed
        ):  # mostly the one before is the same
            packed, blob = one.spec, blob_of(one.spec)
            specs[blob.digest] = blob
            number = number_of.setdefault(blob.digest, len(number_of))
        share: dict[str, Any] = {"spec": number} if number else {}
        found.append(share | ({_INCARNATION: one.incarnation} if one.incarnation else {}))
    return specs, found


def _with_reference_sets(
    shares: Sequence[RecordedShare], found: list[dict[str, Any]]
) -> dict[str, Any]:
    """The different lists of what goes along, to which the shares then refer; mostly none."""
    sets: list[list[Mapping[str, str]]] = []
    for one, share in zip(shares, found, strict=True):
        if one.references:
            references = list(one.references)
            if references not in sets:
                sets.append(references)
            share[REFERENCES] = sets.index(references)
    return {REFERENCE_SETS: sets} if sets else {}


def _line_of_equal(decisions: EqualDecisions) -> str:
    counts: Counter[str] = Counter()
    for run in decisions.runs:
        counts[decisions.outcomes[run.outcome].phase.lower()] += run.count
    parts = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    return f"{len(decisions.subjects)} equal workloads: {parts}"


def _without_price_list(content: dict[str, Any]) -> tuple[dict[str, Any], Terms | None]:
    """The content without the list of scarcity prices, and the terms with it; None: none."""
    terms = content.get("terms")
    if not isinstance(terms, Terms) or not terms.scarcity:
        return content, None
    return {**content, "terms": msgspec.structs.replace(terms, scarcity=())}, terms


def _without_victims(content: dict[str, Any]) -> tuple[dict[str, Any], tuple[Blob, ...]]:
    """The content without the list of what could end for the workload, and the list as a blob."""
    demand = content.get("demand")
    if not isinstance(demand, Demand) or not demand.victims:
        return content, ()
    listed = blob_of({POSSIBLE_VICTIMS: demand.victims})
    demand = msgspec.structs.replace(demand, victims=NO_VICTIMS)
    return {**content, "demand": demand, VICTIMS: listed.digest}, (listed,)


def _loss_entry(epoch: int, at: datetime) -> LedgerEntry:
    line = "the ledger was lost, and this one begins"
    content = {"line": line, _LOST: [_LEDGER]}
    return LedgerEntry(kind=LOSS_KIND, subject=HUB_SUBJECT, epoch=epoch, at=at, content=content)


def adoption_entry(epoch: int, at: datetime) -> LedgerEntry:
    """The entry by which an operator accepts that what the ledger does not say is lost.

    Orders that sites report of workloads which were held until then are taken over, and what no
    workload has is withdrawn. A running scheduler follows it within seconds.

    Args:
        epoch: the epoch of the hub's leader.
        at: when it was accepted.
    """
    line = "the operator accepts what the ledger lost"
    content = {"line": line, _LOST: [_LEDGER]}
    return LedgerEntry(kind=ADOPTION_KIND, subject=HUB_SUBJECT, epoch=epoch, at=at, content=content)
