"""Groups the nodes of a trace into sites, by a stated rule."""

import random
from dataclasses import dataclass

from scheduler.simulation.trace.reading import NodeRecord

BY_HARDWARE = (
    "nodes sorted by GPU model, cards, cores, memory and name, cut into equal runs: "
    "a site mostly holds machines of one kind, as rooms are bought"
)
SHUFFLED = "nodes shuffled by the seed and cut into equal runs: every site holds every kind"


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """A site and its nodes, by name."""

    name: str
    nodes: tuple[NodeRecord, ...]


def group_nodes(nodes: list[NodeRecord], site_count: int, *, seed: int | None) -> list[SiteRecord]:
    """Groups nodes into sites whose sizes differ by at most one node.

    Args:
        nodes: all nodes of the trace.
        site_count: number of sites.
        seed: None groups by hardware (`BY_HARDWARE`), a number shuffles (`SHUFFLED`).

    Raises:
        ValueError: `site_count` is less than one or greater than the number of nodes.
    """
    if not 1 <= site_count <= len(nodes):
        raise ValueError(f"--sites {site_count}: expected 1 to {len(nodes)}, the number of nodes")
    ordered = sorted(nodes, key=_hardware_key)
    if seed is not None:
        random.Random(seed).shuffle(ordered)  # noqa: S311 - a seeded experiment, no secret
    size, more = divmod(len(ordered), site_count)
    found: list[SiteRecord] = []
    start = 0
    for number in range(site_count):
        end = start + size + (number < more)  # the first `more` sites get one node more
        members = sorted(ordered[start:end], key=lambda node: node.name)
        found.append(SiteRecord(f"site-{number:0{len(str(site_count - 1))}d}", tuple(members)))
        start = end
    return found


def _hardware_key(node: NodeRecord) -> tuple[str, int, int, int, str]:
    return (node.model, node.card_count, node.cpu_milli, node.memory_mib, node.name)
