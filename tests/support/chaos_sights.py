"""A small world as the checker of the chaos run is shown it, in good order, to be spoiled."""

import copy
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

from benchmarks._chaos.checker.promises import Checker
from benchmarks._chaos.checker.sight import LedgerRow, PodsSeen, Raw, Sight, SiteSeen, Write

KEY = ("city", "w")


def workload(**spec: Any) -> Raw:  # noqa: ANN401 - fields of a spec
    """A workload of two replicas with one core each, not decided yet."""
    pod = {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}
    manifest = {"kind": "Deployment", "spec": {"replicas": 2, "template": {"spec": pod}}}
    return {
        "metadata": {"namespace": "city", "name": "w", "generation": 1},
        "spec": {"dataClass": "general-2", "replicas": 2, "manifests": [manifest], **spec},
        "status": {},
    }


def placed(one: Raw, *, left: tuple[str, int] | None = None, epoch: int = 1, **sites: int) -> Raw:
    """The workload with replicas at these sites, running."""
    groups = [{"sites": [s], "replicas": n, "phase": "Running"} for s, n in sites.items()]
    if left:
        groups.append({"sites": [left[0]], "replicas": left[1], "phase": "Withdrawing"})
    after = copy.deepcopy(one)
    after["status"] = {
        "epoch": epoch,
        "phase": "Running",
        "observedGeneration": one["metadata"]["generation"],
        "incarnation": "abc",
        "placement": {"groups": groups},
        "conditions": [{"type": "Placed", "status": "True", "message": "placed"}],
    }
    return after


def pods(wanted: int, **facts: Any) -> dict[str, PodsSeen]:  # noqa: ANN401 - fields
    """What a site runs of the workload."""
    return {"hub/city/w/abc": PodsSeen(wanted=wanted, bound=wanted, ready=wanted, **facts)}


def site_object(name: str, **spec: Any) -> Raw:  # noqa: ANN401 - fields of a spec
    """A Site in the city of its own name."""
    location = {"city": name, "province": "CN-GD"}
    return {"metadata": {"name": name, "labels": {}}, "spec": {"location": location, **spec}}


def grant(*sites: str, data_class: str = "general-3") -> Raw:
    """A grant for sites."""
    return {
        "metadata": {"name": "g"},
        "spec": {"sites": list(sites), "dataClass": data_class, "protectionLevel": 3},
    }


def sight(now: float = 1000.0, **facts: Any) -> Sight:  # noqa: ANN401 - fields of a sight
    """Two sites with eight cores each, which reported a moment ago."""
    names = ("m1", "m2")
    usual = Sight(
        now=now,
        leading_since=0.0,
        sites={name: SiteSeen(cores=8, heard_at=now - 1, version=(1, 1)) for name in names},
        site_objects={name: site_object(name) for name in names},
        grants={"g": grant(*names)},
        is_whole=True,
    )
    return replace(usual, **facts)


def with_site(of: Sight, name: str, **facts: Any) -> Sight:  # noqa: ANN401 - fields of a site
    """The same moment with other facts of one site."""
    return replace(of, sites={**of.sites, name: replace(of.sites[name], **facts)})


def wrote(before: Raw, after: Raw, *, lease_epoch: int = 1) -> dict[str, Any]:
    """A write, and the object that the hub has after it."""
    return {"writes": (Write(before, after, lease_epoch),), "workloads": {KEY: after}}


def row(seq: int, previous: str, *, body_after: bytes | None = None) -> LedgerRow:
    """A record in its place; with `body_after`, one whose body was changed later."""
    body = json.dumps({"seq": seq, "previous": previous}).encode()
    digest = f"sha256:{sha256(body).hexdigest()}"
    return LedgerRow(seq=seq, id=f"1-{seq}", hash=digest, body=body_after or body)


def broken(*moments: Sight) -> set[int]:
    """The numbers of the promises that a checker finds broken in these moments."""
    checker = Checker()
    for one in moments:
        checker.look(one)
    return {one.promise for one in checker.violations}
