"""What is applied at one site, step by step, for people who ask why an order is as it is. Pure."""

from collections.abc import Mapping

from scheduler.model.kinds.site import SiteSpec
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.overrides.apply import Applied, NotApplicable, adapt, adaptation_at

MANIFESTS = "spec.manifests"
DECISION = "decision"
NOT_APPLIED = "not applied"


def steps_at(
    spec: WorkloadSpec,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    site: SiteSpec,
    *,
    replicas: int,
) -> tuple[Applied, ...]:
    """The steps from a workload's manifests to those of a site, in order; empty if none differs.

    Args:
        spec: of the workload.
        namespace: of the workload.
        name: of the site.
        labels: of the site's object.
        site: its spec.
        replicas: what the decision placed there.
    """
    adaptation = adaptation_at(spec.overrides, name, labels, site)
    if adaptation is None:
        return ()
    manifests, _ = clean_manifests(spec.manifests)
    first = (
        Applied(MANIFESTS, "", (f"{len(manifests)} objects",)),
        Applied(DECISION, "", (f"{replicas} replicas, and what nodes need",)),
    )
    try:
        adapted = adapt(manifests, adaptation, spec, namespace=namespace, tenant=None)
    except NotApplicable as error:
        return (*first, Applied(NOT_APPLIED, "", (str(error),)))
    return (*first, *adapted.applied) if adapted.applied else ()
