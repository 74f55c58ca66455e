"""Which overrides a workload is refused for, whatever its sites are. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.overrides import Override
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.checks import BadManifest, check_depth
from scheduler.model.overrides.apply import check_override, target_of
from scheduler.model.overrides.images import problem_of_registry
from scheduler.model.overrides.json_patch import PatchFailed
from scheduler.model.overrides.recorded import writes_secret

MAX_OVERRIDES_BYTES = 131_072
"""The most for the overrides of one workload, as JSON."""

MAX_CHECKED_BYTES = 98_304
"""The most of the objects that overrides patch, each counted once for each override: every patched
form is checked as manifests are, which takes about 0.4 ms for each KiB, and nothing that arrives
may hold the event loop for 50 ms."""


def check_overrides(
    spec: WorkloadSpec,
    manifests: Sequence[dict[str, Any]],
    *,
    namespace: str,
    tenant: Tenant | None,
) -> None:
    """Refuses overrides that could be applied at no site, or that would change what is decided.

    An override that fails only on the object as the workload has it, and comes after another one
    for the same object, may do at some sites. It is applied when the orders of a site are made.

    Args:
        spec: of the workload.
        manifests: its manifests as they are applied.
        namespace: of the workload.
        tenant: of that namespace; None: its rights are not known, and are not checked.

    Raises:
        BadManifest: the message names the override and what to write; `NotSecure` where it is
            about Pod Security.
    """
    if not spec.overrides:
        return
    _check_size(spec.overrides)
    changed: set[int] = set()
    checked = 0
    for index, each in enumerate(spec.overrides):
        where = f"spec.overrides[{index}]"
        _check_selector(each.site_selector, where)
        _check_registries(each, where)
        if not (each.patch or each.args or each.image_registries):
            raise BadManifest(f"{where}: changes nothing; write patch, args or imageRegistries")
        if not (each.patch or each.args):
            if each.target is not None:
                raise BadManifest(f"{where}.target: is for patch and args; leave it out")
            continue
        _check_values_of(each, where)
        position = target_of(manifests, each, where)
        checked += len(msgspec.json.encode(manifests[position]))
        if checked > MAX_CHECKED_BYTES:
            raise BadManifest(
                f"{where}: overrides patch objects of more than {MAX_CHECKED_BYTES} bytes in all; "
                "move large data out of them, or write fewer overrides"
            )
        try:
            check_override(manifests, spec, index, namespace=namespace, tenant=tenant)
        except PatchFailed as error:
            if position not in changed:
                raise BadManifest(str(error)) from None
        changed.add(position)


def _check_size(overrides: Sequence[Override]) -> None:
    try:
        size = len(msgspec.json.encode(overrides))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise BadManifest("spec.overrides: a value is no JSON") from None
    if size > MAX_OVERRIDES_BYTES:
        raise BadManifest(f"spec.overrides: {size} bytes; at most {MAX_OVERRIDES_BYTES}")


def _check_selector(selector: LabelSelector, where: str) -> None:
    for each in selector.match_expressions:
        needs = each.operator in ("In", "NotIn")
        if needs != bool(each.values):
            raise BadManifest(
                f"{where}.siteSelector: {each.key} {each.operator} "
                + ("needs values" if needs else "takes no values; leave them out")
            )


def _check_registries(override: Override, where: str) -> None:
    for number, each in enumerate(override.image_registries):
        for field, text in (("from", each.from_), ("to", each.to)):
            problem = problem_of_registry(text)
            if problem:
                raise BadManifest(f"{where}.imageRegistries[{number}].{field}: {problem}")


def _check_values_of(override: Override, where: str) -> None:
    for number, each in enumerate(override.patch):
        here = f"{where}.patch[{number}]"
        check_depth(each.value, here)
        if each.op in ("add", "replace") and each.value is None:
            raise BadManifest(f"{here}: {each.op} needs a value; to take a field out, write remove")
        if writes_secret(each.value):
            raise BadManifest(f"{here}: holds data of a Secret; refer to a Secret instead")
        if each.op in ("move", "copy") and not each.from_:
            raise BadManifest(f"{here}: {each.op} needs from")
