"""Remembers what the schemas say of the manifests of workloads.

A decision reads without waiting, so the check comes before it. Equal manifests are checked once.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.workload import Workload
from scheduler.model.packed_manifests import PackedManifests

UNKNOWN_TO_SCHEMA = "ManifestRefused"
"""Reason of condition Accepted where a manifest does not fit the schema of its kind."""

_MAX_INLINE_BYTES = 16_384
_MAX_REMEMBERED = 20_000


class Schemas(Protocol):
    """The schemas of the kinds that are known."""

    async def refresh(self, versions: frozenset[str]) -> str:
        """Has the schemas of these versions ready; returns what changes when they do."""
        ...

    def find_problem(self, manifest: Mapping[str, Any]) -> str:
        """What the schema of its kind refuses of a manifest; empty if nothing or not known."""
        ...


@dataclass(slots=True)
class ManifestChecks:
    """Checks manifests before a decision.

    Attributes:
        schemas: None: nothing is checked.
    """

    schemas: Schemas | None = None
    _problems: OrderedDict[bytes, tuple[str, str]] = field(default_factory=OrderedDict, init=False)

    async def check(self, workload: Workload) -> None:
        """Checks the manifests of a workload, so that `refusal_of` knows them."""
        manifests = workload.spec.manifests
        if self.schemas is None or not manifests:
            return
        versions = frozenset(str(each.get("apiVersion", "")) for each in manifests)
        state = await self.schemas.refresh(versions)
        digest, size = _digest_and_size(manifests)
        known = self._problems.get(digest)
        if known is None or known[0] != state:
            is_small = size <= _MAX_INLINE_BYTES
            find = _first_problem
            problem = (
                find(self.schemas, manifests)
                if is_small
                else await asyncio.to_thread(find, self.schemas, manifests)
            )
            self._problems[digest] = (state, problem)
        self._problems.move_to_end(digest)
        while len(self._problems) > _MAX_REMEMBERED:
            self._problems.popitem(last=False)

    def refusal_of(self, workload: Workload) -> NotAccepted | None:
        """Why the manifests are refused; None if they fit, or nothing is known of them."""
        if self.schemas is None or not workload.spec.manifests:
            return None
        digest, _ = _digest_and_size(workload.spec.manifests)
        _, problem = self._problems.get(digest) or ("", _former_problem(workload))
        if not problem:
            return None
        return NotAccepted(reason="invalid", condition=UNKNOWN_TO_SCHEMA, message=problem)


def _digest_and_size(manifests: Sequence[dict[str, Any]]) -> tuple[bytes, int]:
    """A digest of the manifests, and the bytes of their JSON.

    Packed manifests know both. Theirs depends on the order of fields, so equal manifests of another
    order are checked again.
    """
    if isinstance(manifests, PackedManifests):
        return manifests.digest, manifests.size
    data = canonical_json(manifests)
    return hashlib.sha256(data).digest(), len(data)


def _former_problem(workload: Workload) -> str:
    """What the status says of manifests that this process has not checked yet, as after a start."""
    accepted = [one for one in workload.status.conditions if one.type == "Accepted"]
    is_refused = any(one.status == "False" and one.reason == UNKNOWN_TO_SCHEMA for one in accepted)
    return accepted[0].message if is_refused else ""


def _first_problem(schemas: Schemas, manifests: Sequence[Mapping[str, Any]]) -> str:
    for each in manifests:
        problem = schemas.find_problem(each)
        if problem:
            metadata = each.get("metadata")
            name = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
            return f"{each.get('kind')} {name}: {problem}"
    return ""
