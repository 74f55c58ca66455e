"""Checks that a patched object keeps what was accepted and decided of it. Pure.

Every rule for manifests holds for every patched form, and what is read of it is what was read of
the object as the workload has it, so that a decision made of that one is right at every site.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.model.decode import NotReadable
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.manifests.checks import (
    BadManifest,
    check_depth,
    check_manifests,
    check_values,
    identities_of,
    title_of,
)
from scheduler.model.manifests.containers import field_names
from scheduler.model.manifests.manifests import (
    has_node_data,
    holds_data,
    read_manifests,
)
from scheduler.model.manifests.pod_kinds import check_is_counted, pod_kind_of
from scheduler.model.manifests.pod_security import check_pod_security
from scheduler.model.manifests.templates import find_pod_specs, values_at
from scheduler.model.manifests.value_types import find_refused_values
from scheduler.model.quantities import NotAQuantity

_CLAIM = "persistentVolumeClaim"


def check_patched(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    where: str,
    *,
    namespace: str,
    tenant: Tenant | None,
    template_paths: Sequence[str] = (),
    has_demand: bool = False,
) -> None:
    """Refuses a patched object that is not what was decided on, or that no workload may have.

    Args:
        before: the object as it was decided on.
        after: the patched one.
        where: path of the override, for messages.
        namespace: of the workload.
        tenant: of that namespace; None: its rights are not known, and are not checked.
        template_paths: `spec.demand.podTemplatePaths`.
        has_demand: whether there is a `spec.demand`.

    Raises:
        BadManifest: the message names the override; `NotSecure` where it is about Pod Security.
    """
    check_depth(after, where)
    try:
        _check_rules(after, namespace, tenant)
    except BadManifest as error:
        raise type(error)(
            f"{where}: {str(error).replace('spec.manifests[0]', 'patched')}"
        ) from None
    check_is_counted(after, where, has_demand=has_demand, template_paths=template_paths)
    same_object = list(identities_of([before], namespace)) == list(
        identities_of([after], namespace)
    )
    if not same_object:
        raise BadManifest(f"{where}: it would be another object than {title_of(before)}")
    paths = [each for each in template_paths if pod_kind_of(before) is None]
    paths = [each for each in paths if any(values_at(before, each))]
    try:
        is_same = _reading(before, namespace, paths) == _reading(after, namespace, paths)
    except (BadManifest, NotAQuantity, NotReadable) as error:
        raise BadManifest(f"{where}: {error}") from None
    if not is_same:
        raise BadManifest(
            f"{where}: {title_of(before)} would ask for other pods, nodes, ports or volumes than "
            "were decided on; an override cannot change what a decision counts"
        )


def _check_rules(after: Mapping[str, Any], namespace: str, tenant: Tenant | None) -> None:
    check_manifests(
        [after],
        namespace=namespace,
        extra_namespaces=tenant.spec.extra_namespaces if tenant else (),
        cluster_kinds=tenant.spec.cluster_kinds if tenant else (),
    )
    check_values([after])
    wrong = next(find_refused_values(after), None)
    if wrong is not None:
        raise BadManifest(wrong)
    if tenant is not None:
        check_pod_security(after, "patched", tenant.spec.pod_security)


def _reading(manifest: Mapping[str, Any], namespace: str, paths: Sequence[str]) -> object:
    """All that decisions, quotas and moves read of one object."""
    one = (manifest,)  # of a tuple, answers are remembered
    return (
        read_manifests(one, namespace=namespace, template_paths=paths),
        holds_data(one),
        has_node_data(one),
        _claims_named(manifest) if _CLAIM in field_names(one) else [],
    )


def _claims_named(manifest: Mapping[str, Any]) -> list[str]:
    """The claims that pods name: whose data they use decides where they may move."""
    return sorted(
        str(each[_CLAIM])
        for pod in find_pod_specs(manifest)
        for each in pod.spec.get("volumes") or ()
        if isinstance(each, Mapping) and each.get(_CLAIM)
    )
