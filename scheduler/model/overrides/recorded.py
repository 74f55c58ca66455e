"""What the ledger and the status record of a spec: without the data of Secrets. Pure.

An override that would write such data is refused, and its refusal is recorded, as with manifests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.overrides import ContainerArgs, Override, PatchOperation
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.recorded import (
    NOT_RECORDED,
    recorded_manifests,
    without_secret_data,
)
from scheduler.model.manifests.secrets import is_secret


def recorded_spec(spec: WorkloadSpec) -> WorkloadSpec:
    """A spec as it is recorded."""
    manifests = recorded_manifests(spec.manifests)
    if not spec.overrides:
        return msgspec.structs.replace(spec, manifests=manifests)
    overrides = recorded_overrides(spec.overrides, spec.manifests)
    return msgspec.structs.replace(spec, manifests=manifests, overrides=overrides)


def recorded_overrides(
    overrides: Sequence[Override], manifests: Sequence[Mapping[str, Any]]
) -> tuple[Override, ...]:
    """Overrides as they are recorded.

    Args:
        overrides: the overrides.
        manifests: of the same workload; one of them may be a Secret.
    """
    has_secret = any(is_secret(each) for each in manifests)
    return tuple(_recorded(each, has_secret=has_secret) for each in overrides)


def writes_secret(value: object) -> bool:
    """Whether a value of a patch holds the data of a Secret."""
    return without_secret_data(value) is not value


def _recorded(override: Override, *, has_secret: bool) -> Override:
    target = override.target
    is_about_secret = (
        has_secret if target is None else is_secret({"kind": target.kind, "data": "x"})
    )
    return msgspec.structs.replace(
        override,
        patch=tuple(_recorded_operation(each, is_about_secret) for each in override.patch),
        args=tuple(_recorded_args(each, is_about_secret) for each in override.args),
    )


def _recorded_operation(operation: PatchOperation, is_about_secret: bool) -> PatchOperation:  # noqa: FBT001 - of one override
    value = operation.value
    kept = NOT_RECORDED if is_about_secret else without_secret_data(value)
    if value is None or kept is value:
        return operation
    return msgspec.structs.replace(operation, value=kept)


def _recorded_args(args: ContainerArgs, is_about_secret: bool) -> ContainerArgs:  # noqa: FBT001 - of one override
    kept = [NOT_RECORDED if is_about_secret else without_secret_data(each) for each in args.args]
    return msgspec.structs.replace(args, args=tuple(kept))
