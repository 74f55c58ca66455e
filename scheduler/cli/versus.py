"""`kapok explain --versus SITE`.

What was chosen beside one other site, and why not that one.
"""

from typing import Any

from scheduler.model.demand.demand import Demand, NotAccepted

_PRICE_TOLERANCE = 1e-9
"""CNY per replica-hour below which two prices are the same."""


class UnknownSite(Exception):
    """The site is not in the fleet; the message names those that are."""


def compare_with_site(
    explanation: dict[str, Any], site: str, demand: Demand | NotAccepted
) -> dict[str, Any]:
    """Leaves the chosen sites and one other, and says what speaks for and against it.

    Args:
        explanation: the whole explanation, as JSON has it.
        site: the other site.
        demand: what was asked.

    Raises:
        NoSuchSite: there is no such site.
    """
    if isinstance(demand, NotAccepted):
        return explanation | {
            "versus": {"site": site, "sentence": explanation["line"], "terms": []}
        }
    sites = {each["name"]: each for each in explanation["sites"]}
    if site not in sites:
        raise UnknownSite(f"no site {site}; there are {', '.join(sites) or 'none'}")
    other = sites[site]
    chosen = [each for each in explanation["sites"] if each["replicas"] and each["name"] != site]
    best = min(chosen, key=_price_key, default=None)
    return explanation | {
        "sites": [
            each for each in explanation["sites"] if each["name"] == site or each["replicas"]
        ],
        "versus": {
            "site": site,
            "sentence": _format_comparison(other, chosen, demand),
            "terms": [] if best is None else _term_differences(other, best),
        },
    }


def _price_key(site: dict[str, Any]) -> tuple[bool, float]:
    total = site["totalCnyPerReplicaHour"]
    return (total is None, total or 0.0)


def _format_comparison(other: dict[str, Any], chosen: list[dict[str, Any]], demand: Demand) -> str:
    name = other["name"]
    if other["replicas"]:
        also = ", ".join(each["name"] for each in chosen)
        return f"{name} is chosen, for {other['replicas']}" + (f", beside {also}" if also else "")
    failed = [each for each in other["verdicts"] if not each["passed"]]
    if failed:
        told = "; ".join(f"{each['reason']}: {each['sentence']}" for each in failed)
        return f"{name} is refused: {told}"
    if not chosen:
        return f"{name} passes every rule and takes {other['room']} more, but nothing was chosen"
    if other["room"] < demand.replicas:
        return (
            f"{name} takes only {other['room']} of {demand.replicas}; "
            f"{_format_price_comparison(other, chosen)}"
        )
    return _format_price_comparison(other, chosen) + _format_why_not_chosen(other, chosen, demand)


def _format_price_comparison(other: dict[str, Any], chosen: list[dict[str, Any]]) -> str:
    """How its price stands to the dearest of the chosen sites."""
    dearest = max(chosen, key=_price_key)
    here, there = other["totalCnyPerReplicaHour"], dearest["totalCnyPerReplicaHour"]
    name, rival = other["name"], dearest["name"]
    if here is None:
        unknown = [each["term"] for each in other["costs"] if each["cnyPerReplicaHour"] is None]
        return f"what {name} costs is not known ({', '.join(unknown)}), so it ranks behind"
    if there is None:
        return f"{name} costs {here:.4f} CNY per replica-hour; what {rival} costs is not known"
    if abs(here - there) < _PRICE_TOLERANCE:
        return f"{name} costs as much as {rival}, {here:.4f} CNY per replica-hour"
    word = "more" if here > there else "less"
    return (
        f"{name} costs {here:.4f} CNY per replica-hour, {abs(here - there):.4f} {word} than {rival}"
    )


def _format_why_not_chosen(
    other: dict[str, Any], chosen: list[dict[str, Any]], demand: Demand
) -> str:
    """Why a site that ranks no worse was not chosen all the same."""
    if _price_key(other) > _price_key(max(chosen, key=_price_key)):
        return ""
    runs = {site for site, count in demand.placed_replicas.items() if count}
    if demand.mode == "Steady" and runs & {each["name"] for each in chosen}:
        return "; what runs stays where it is (mode Steady)"
    if demand.strategy != "CostOptimal":
        return f"; the strategy {demand.strategy} does not choose by price"
    if demand.spread or demand.site_groups or demand.preset:
        return "; the spread, groups or preset that is asked chose otherwise"
    return "; equals are told apart by a hash of the workload"


def _term_differences(other: dict[str, Any], best: dict[str, Any]) -> list[dict[str, Any]]:
    """Each cost there and at the cheapest chosen site; null where it is not known."""
    theirs = {each["term"]: each["cnyPerReplicaHour"] for each in best["costs"]}
    return [
        {
            "term": each["term"],
            "cnyPerReplicaHour": each["cnyPerReplicaHour"],
            "than": best["name"],
            "cnyPerReplicaHourThere": theirs.get(each["term"]),
        }
        for each in other["costs"]
    ]
