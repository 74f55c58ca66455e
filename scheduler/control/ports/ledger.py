"""The port to the ledger: the present fleet, and a record of each decision.

`scheduler.ledger.recorder` implements it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from scheduler.model.decision import EqualDecisions
from scheduler.model.demand.assignment import AssignedWorkload
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec


@dataclass(frozen=True, slots=True)
class RecordReference:
    """Id and hash of a record; having one means that the record is durable.

    Attributes:
        id: its id.
        hash: its hash.
        index: which share of it is meant, of a record of equal decisions; None: it has one only.
    """

    id: str
    hash: str
    index: int | None = None


PreparedRecord = Callable[[], Awaitable[RecordReference]]
"""Appends a prepared record; returns when it is durable, and may raise `NotRecorded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """The ledger at one moment, signed with the hub's key.

    Attributes:
        first: the first record that no earlier segment covers.
        seq: the newest record; it is also the number of records.
        hash: its hash, which covers every record before it.
        previous: hash of the newest segment; zeros when there is none.
        at: when it was signed, ISO 8601.
        key: the public key, `ed25519:BASE64`.
        signature: Ed25519 over all of this, in base64.
    """

    first: int
    seq: int
    hash: str
    previous: str
    at: str
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class AcceptedSpec:
    """The input of the newest decision about a workload.

    Attributes:
        spec: the spec at that time.
        demand: the demand that it was resolved to.
        is_complete: nothing was left out of the spec, so that orders can be made of it.
    """

    spec: WorkloadSpec
    demand: Demand
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedIdentity:
    """What the ledger says about the workload that has a name.

    Attributes:
        incarnation: of the newest workload of that name, unless its deletion is recorded; "" when
            there is none, or when its records do not say.
        is_complete: the absence of an incarnation means that no workload has the name: none ever
            had it, or the last one was deleted.
        is_adopted: the operator has accepted, after the newest record about the name, that what
            the ledger does not say is lost.
    """

    incarnation: str = ""
    is_complete: bool = True
    is_adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedShare:
    """What a record of equal decisions holds of one workload, besides its decision.

    Attributes:
        spec: the spec with its manifests.
        incarnation: the workload's; "" when it is not known.
        references: what goes along with its orders, by name and version.
    """

    spec: WorkloadSpec
    incarnation: str = ""
    references: Sequence[Mapping[str, str]] = ()


class DecisionRecorder(Protocol):
    """Records decisions together with their inputs."""

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Sets the newest facts of a site; None: the site is gone."""
        ...

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
        """Prepares the record of a decision, with the fleet as it is now.

        It does not wait, so that no other decision changes the fleet between the choice and this.
        Records are appended in the order in which the returned functions are called.

        Args:
            subject: "namespace/name" of the workload.
            epoch: the epoch of the leader that decided.
            at: when it was decided.
            content: demand, terms and decision, or the refusal, as values of the model; as
                `assignment` the version of a list that the decision follows, a batch's or, with
                `planOf` and the list itself as `plan`, that of the kept plan for a loss; and as
                `references` what goes along with the orders, if anything does.
            spec: the spec with its manifests; equal ones are stored once.
            incarnation: the workload's; "" when it is not known.
        """
        ...

    def prepare_equal(
        self,
        *,
        epoch: int,
        at: datetime,
        demand: Demand,
        terms: Terms,
        decisions: EqualDecisions,
        shares: Sequence[RecordedShare],
        followed: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[PreparedRecord]:
        """Prepares the one record of equal decisions, with the fleet as it is now.

        Args:
            epoch: the epoch of the leader that decided.
            at: when they were decided.
            demand: what each of them asks; its own name does not matter.
            terms: limits and prices.
            decisions: in the order in which they were decided.
            shares: what else is recorded of each, in the same order.
            followed: `assignment`, `planOf` and `plan`, as in the content of `prepare`, of a list
                that some of them follow, and that has an entry for each; empty: none does.

        Returns:
            For each workload a function that appends the record, unless another one of them has,
            and returns its share when the record is durable.
        """
        ...

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
        """Appends that a recorded decision had no effect: its status was not written.

        While the ledger cannot be written, this is kept, and appended before all else later.

        Args:
            subject: "namespace/name" of the workload.
            epoch: the epoch of the leader.
            at: when that was known.
            decision: the id of the decision's record, `ID#INDEX` for a share of one.
            why: what the hub answered.
            incarnation: the workload's; "" when it is not known.
        """
        ...

    def decisions_after(self, subject: str, shown: str) -> tuple[str, ...]:
        """The ids of decisions and refusals about a workload that came after one, oldest first.

        Args:
            subject: "namespace/name" of the workload.
            shown: the id of the one that its status names; "" when it names none.

        Returns:
            Nothing when `shown` is not in the ledger: then what came after it is not known.
        """
        ...

    async def record_deletion(
        self, *, subject: str, epoch: int, at: datetime, incarnation: str
    ) -> None:
        """Appends that a workload is gone; returns when it is durable.

        Nothing is appended when the newest record about the name says so already, or there is none.

        Args:
            subject: "namespace/name" of the workload.
            epoch: the epoch of the leader.
            at: when it was gone.
            incarnation: the workload's; "" when it is not known.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def record_batch(
        self,
        *,
        epoch: int,
        at: datetime,
        terms: Terms,
        assigned: tuple[AssignedWorkload, ...] = (),
        content: dict[str, Any],
    ) -> RecordReference:
        """Appends the result of a batch; returns when it is durable.

        Args:
            epoch: the epoch of the leader that decided.
            at: when the batch was solved.
            terms: with the scarcity prices that it found.
            assigned: where it puts the workloads.
            content: how it was solved, and how well.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def record_evictions(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        """Appends what holds evictions back from a time on; returns when it is durable.

        Args:
            epoch: the epoch of the leader.
            at: since when.
            content: what holds them back, with the operator's last word and a line about it.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def record_forgotten_site(
        self, *, epoch: int, at: datetime, content: dict[str, Any]
    ) -> None:
        """Appends that an operator forgets a site; returns when it is durable.

        Args:
            epoch: the epoch of the leader.
            at: when that was known.
            content: which site, who forgets it, and what is left behind there.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def record_drill(self, *, epoch: int, at: datetime, content: dict[str, Any]) -> None:
        """Appends that a drill begins, or its report; returns when it is durable.

        Args:
            epoch: the epoch of the leader.
            at: when that was.
            content: which drill, its phase, and what was measured.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    def last_drill(self) -> Mapping[str, Any] | None:
        """The content of the newest such record; None: there is none.

        Raises:
            ValueError: the record cannot be read.
        """
        ...

    def last_evictions(self) -> Mapping[str, Any] | None:
        """The content of the newest such record; None: there is none.

        Raises:
            ValueError: the record cannot be read.
        """
        ...

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        """The input of the newest decision about a workload that was carried out; None without one.

        Raises:
            ValueError: the record cannot be read.
        """
        ...

    def identity_of(self, subject: str) -> RecordedIdentity:
        """What is recorded of the workload that has the name "namespace/name"."""
        ...

    def is_history_lost(self) -> bool:
        """Whether the file was lost, and the operator has not accepted that yet."""
        ...
