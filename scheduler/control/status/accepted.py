"""What was accepted last, as a status keeps it: packed, with a digest. Pure.

The next leader decides and orders by it, so it does not live in one scheduler's ledger. A status
may have been restored or edited, so what is read from it is checked, and never unpacks into more
memory than a workload may take.
"""

import binascii
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.ports.ledger import AcceptedSpec
from scheduler.control.status.conditions import MAX_SITES_LISTED, find_condition
from scheduler.model.canonical import canonical_json, digest_of_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import (
    MAX_ACCEPTED_CHARACTERS,
    AcceptedReference,
    Workload,
    WorkloadSpec,
)
from scheduler.model.manifests.recorded import NOT_RECORDED
from scheduler.model.overrides.recorded import recorded_spec
from scheduler.model.packed_manifests import deflate

ORDERS_KEPT = "OrdersKept"
"""Condition of a workload whose orders stay as they are, because what was accepted is missing."""
MAX_CONTENT_BYTES = 4 * 1024 * 1024
"""A spec is at most 1 MB, and a demand repeats little of it; a forged content is cut off here."""

_MAX_PACKED_CHARACTERS = 2 * 1024 * 1024
_COMPRESSION_LEVEL = 6
_OMISSION = canonical_json(NOT_RECORDED)


class AcceptedDamaged(ValueError):
    """What is kept as accepted cannot be read; it counts as missing."""


@dataclass(frozen=True, slots=True)
class PackedAcceptance:
    """What was accepted, ready to be written.

    Attributes:
        digest: of the content before it was packed.
        content: deflated, in base64.
    """

    digest: str
    content: str

    @property
    def fits_status(self) -> bool:
        """Whether a status has room for it."""
        return len(self.content) <= MAX_ACCEPTED_CHARACTERS

    def reference(self, generation: int) -> AcceptedReference:
        """What a status says of it."""
        content = self.content if self.fits_status else ""
        return AcceptedReference(generation=generation, digest=self.digest, content=content)


def pack_accepted(spec: WorkloadSpec, demand: Demand) -> PackedAcceptance:
    """Packs a spec and its demand; equal ones give equal bytes.

    The data of Secrets is left out, as in the ledger. So is what the next decision looks up again
    anyway: where the workload is, and what is left of quota and budget.
    """
    recorded = recorded_spec(spec)
    lasting = msgspec.structs.replace(
        demand,
        placed=(),
        quota_left=None,
        budget_left=None,
        plan=None,
        rollout=None,
        rebalance=None,
    )
    plain = canonical_json({"demand": lasting, "spec": recorded})
    packed = deflate(plain, _COMPRESSION_LEVEL)
    return PackedAcceptance(digest_of_bytes(plain), b64encode(packed).decode())


def unpack_accepted(digest: str, content: str) -> AcceptedSpec:
    """Reads what was accepted.

    Args:
        digest: what the status says of it.
        content: deflated, in base64.

    Raises:
        AcceptedDamaged: it is not what the digest says, or nothing that can be read.
    """
    plain = _inflate(content)
    if digest_of_bytes(plain) != digest:
        raise AcceptedDamaged("its digest differs from that in the status")
    try:
        tree: Any = msgspec.json.decode(plain)
        spec = msgspec.convert(tree["spec"], WorkloadSpec)
        demand = msgspec.json.decode(msgspec.json.encode(tree["demand"]), type=Demand)
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
        raise AcceptedDamaged(f"it is no spec with a demand ({type(error).__name__})") from error
    return AcceptedSpec(spec, demand, is_complete=is_complete(spec))


def unpack_accepted_demand(digest: str, content: str) -> Demand:
    """Reads the demand alone of what was accepted; of the manifests nothing is decoded.

    Args:
        digest: what the status says of it.
        content: deflated, in base64.

    Raises:
        AcceptedDamaged: it is not what the digest says, or holds no demand.
    """
    plain = _inflate(content)
    if digest_of_bytes(plain) != digest:
        raise AcceptedDamaged("its digest differs from that in the status")
    try:
        return _DEMAND_ALONE.decode(plain).demand
    except (msgspec.MsgspecError, RecursionError) as error:
        raise AcceptedDamaged(f"it holds no demand ({type(error).__name__})") from error


class _DemandAlone(msgspec.Struct):
    demand: Demand


_DEMAND_ALONE = msgspec.json.Decoder(_DemandAlone)


def is_complete(spec: WorkloadSpec) -> bool:
    """Whether nothing was left out of a recorded spec, so that orders can be made of them."""
    is_whole = _OMISSION not in canonical_json(spec.manifests)
    return is_whole and (not spec.overrides or _OMISSION not in canonical_json(spec.overrides))


def is_present_spec_accepted(workload: Workload) -> bool:
    """Whether the status says that the present spec is what was accepted last."""
    status, generation = workload.status, workload.metadata.generation
    if status.accepted is not None:
        return status.accepted.generation == generation
    condition = find_condition(status.conditions, "Accepted")
    is_refused = condition is not None and condition.status != "True"
    return not is_refused and status.observed_generation == generation


def kept_orders_condition(problem: str, sites: Sequence[str], now: datetime) -> Condition | None:
    """The condition of a workload whose present spec is not accepted; None: all is known.

    Args:
        problem: why what the hub keeps as accepted cannot be used; "": it can, or there is none.
        sites: sites that run an order of which the content is not known here.
        now: the time.
    """
    if not problem and not sites:
        return None
    lost = (
        f"what was accepted last is not usable: {problem}" if problem else "nothing says any more"
    )
    lost = lost if problem else f"{lost} what was accepted last"
    where = f"; {format_list(list(sites), MAX_SITES_LISTED)} keep what they run" if sites else ""
    return Condition(
        type=ORDERS_KEPT,
        status="True",
        reason="AcceptedDamaged" if problem else "AcceptedMissing",
        message=f"{lost}{where}. Nothing else is sent there before the spec is accepted again:"
        " correct it, or restore the ledger"[:1024],
        last_transition_time=now,
    )


def _inflate(content: str) -> bytes:
    if len(content) > _MAX_PACKED_CHARACTERS:
        raise AcceptedDamaged("it is larger than any content")
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(b64decode(content, validate=True), MAX_CONTENT_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise AcceptedDamaged(f"it cannot be unpacked ({error})"[:200]) from error
    if not reader.eof or reader.unused_data:
        raise AcceptedDamaged("it is cut off, has trailing bytes, or is larger than any content")
    return plain
