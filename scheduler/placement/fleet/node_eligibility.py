"""Which node profiles a pod may run on, by the rules of the Kubernetes scheduler."""

from collections.abc import Iterable

from scheduler.model.demand.demand import Demand, any_tolerates
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.manifests.pods import (
    HOSTNAME_LABEL,
    NODE_NAME_FIELD,
    NodeRequirement,
    PodShape,
)
from scheduler.placement.fleet.nodes.label_index import parse_integer
from scheduler.placement.fleet.nodes.profiles import NodeProfile


def is_eligible(shape: PodShape, profile: NodeProfile) -> bool:
    """Whether labels, affinity, GPU model and taints permit a pod on nodes of a profile."""
    return matches_selectors(shape, profile) and not blocking_taints(shape, profile)


def matches_selectors(shape: PodShape, profile: NodeProfile) -> bool:
    """Whether node selector, node affinity and GPU model match; taints are not checked."""
    labels = profile.all_labels
    if any(labels.get(key) != value for key, value in shape.node_selector.items()):
        return False
    if shape.gpu_models and profile.gpu_model not in shape.gpu_models:
        return False
    terms = shape.node_affinity
    return not terms or any(
        all(matches_requirement(each, profile) for each in term) for term in terms
    )


def unknown_keys(shape: PodShape, profile: NodeProfile) -> list[str]:
    """The labels that a pod asks about and that nodes of a profile may have unreported."""
    asked = [*shape.node_selector, *(each.key for term in shape.node_affinity for each in term)]
    return [key for key in dict.fromkeys(asked) if profile.is_unknown(key)]


def blocking_taints(shape: PodShape, profile: NodeProfile) -> list[str]:
    """The keys of the taints of a node profile that the pod does not tolerate."""
    return [
        taint.key
        for taint in profile.taints
        if taint.effect != "PreferNoSchedule" and not any_tolerates(shape.tolerations, taint)
    ]


def matches_requirement(requirement: NodeRequirement, profile: NodeProfile) -> bool:
    """Whether nodes surely meet one requirement of a node affinity (Gt and Lt compare integers).

    A node's name (`matchFields`) is taken from its hostname label. Of a name or a label that is
    not reported nothing holds: what is unknown is neither equal, different, present nor absent.
    """
    is_name = requirement.key == NODE_NAME_FIELD
    key = HOSTNAME_LABEL if is_name else requirement.key
    if profile.is_unknown(key):
        return False
    value = profile.all_labels.get(key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return _compare_integers(requirement.operator, value, requirement.values)


def _compare_integers(operator: str, value: str | None, values: tuple[str, ...]) -> bool:
    left, right = parse_integer(value or ""), parse_integer(values[0]) if len(values) == 1 else None
    if operator not in {"Gt", "Lt"} or left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right


def is_platform_permitted(
    profile: NodeProfile, architectures: Iterable[str], cpu_vendors: Iterable[tuple[str, ...]]
) -> bool:
    """Whether the images run on a node profile, and every list of CPU vendors permits it."""
    return profile.architecture in architectures and all(
        profile.cpu_vendor in vendors for vendors in cpu_vendors
    )


def has_permitted_node(facts: SiteFacts, demand: Demand, vendors: tuple[str, ...]) -> bool:
    """Whether a site has a node on which the images run, of a vendor that every list permits.

    Args:
        facts: the site.
        demand: its architectures and its lists of CPU vendors count.
        vendors: the CPU vendors that a grant permits; empty: any.
    """
    return any(
        each.platform in demand.architectures
        and all(each.cpu_vendor in permitted for permitted in demand.cpu_vendors)
        and (not vendors or each.cpu_vendor in vendors)
        for each in facts.status.node_classes
    )


# A platform is `amd64` on Linux, and `windows/amd64` on another operating system: the form of
# `Demand.architectures` and of `NodeClass.platform`.
_LINUX = "linux"


def operating_system_of(platform: str) -> str:
    """The operating system of a platform: `linux` of `amd64`, `windows` of `windows/amd64`."""
    return platform.rpartition("/")[0] or _LINUX


def operating_systems_of(platforms: Iterable[str]) -> tuple[str, ...]:
    """The operating systems of platforms, sorted."""
    return tuple(sorted({operating_system_of(each) for each in platforms}))


def format_platform(platform: str) -> str:
    """A platform in the form of `imagePlatforms`: `linux/amd64`, `windows/amd64`.

    The fix of a rule writes it, so that the tenant can copy the line.
    """
    return platform if "/" in platform else f"{_LINUX}/{platform}"


def platforms_with_system(platforms: Iterable[str], system: str) -> tuple[str, ...]:
    """The same architectures on another operating system, beside those that there are."""
    had = tuple(platforms)
    more = {each.rpartition("/")[2] for each in had}
    added = {each if system == _LINUX else f"{system}/{each}" for each in more}
    return tuple(sorted({*had, *added}))
