"""`kapok explain --versus SITE`: compares the chosen sites with one site, and says why not it."""

from typing import Any

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.words.sentence import NEXT, Message, Sentence, joined, json_of

_PRICE_TOLERANCE = 1e-9
"""CNY per replica-hour below which two prices are the same."""


_CHOSEN = Message("versus.chosen", "{site} is chosen for {replicas:n} replicas{more:parts}")
_TOGETHER = Message("versus.together", ", together with {sites:list}")
_REFUSED = Message("versus.refused", "{site} is refused: {why:then}")
_VERDICT = Message("verdict", "{reason}: {sentence:said}")
_NONE_CHOSEN = Message(
    "versus.none-chosen",
    "{site} passes every rule and has room for {room:n} replicas, but no site was chosen",
)
_LITTLE_ROOM = Message(
    "versus.little-room",
    "{site} has room for only {room:n} of {wanted:n} replicas; {prices:said}",
)
_COST_UNKNOWN = Message(
    "versus.cost-unknown", "the cost of {site} is unknown ({terms:list}), so it ranks last"
)
_RIVAL_UNKNOWN = Message(
    "versus.rival-unknown",
    "{site} costs {cost:.4f} CNY per replica-hour; the cost of {rival} is unknown",
)
_SAME_COST = Message(
    "versus.same-cost", "{site} costs the same as {rival}, {cost:.4f} CNY per replica-hour"
)
_COSTS_MORE = Message(
    "versus.costs-more",
    "{site} costs {cost:.4f} CNY per replica-hour, {difference:.4f} more than {rival}",
)
_COSTS_LESS = Message(
    "versus.costs-less",
    "{site} costs {cost:.4f} CNY per replica-hour, {difference:.4f} less than {rival}",
)
_STEADY = Message("versus.steady", "; running replicas stay where they are (mode Steady)")
_NOT_BY_PRICE = Message("versus.not-by-price", "; the strategy {strategy} does not choose by price")
_BY_SPREAD = Message(
    "versus.by-spread",
    "; the spread constraints, site groups or preset of the workload decided otherwise",
)
_BY_HASH = Message("versus.by-hash", "; among equal sites a hash of the workload decides")
_REFUSED_BY = Message("versus.refused-by", "{site} is refused ({reasons:list})")
_NOT_CHOSEN = Message(
    "versus.not-chosen", "{site} has room for {room:n} replicas and is not chosen"
)
_BOTH_UNKNOWN = Message("versus.both-unknown", "the costs of both are unknown")
_ONE_UNKNOWN = Message("versus.one-unknown", "the cost of {site} is unknown")
_BOTH_COST = Message("versus.both-cost", "both cost {cost:.4f} CNY per replica-hour")
_COSTS_GAP = Message(
    "versus.costs-gap", "{site} costs {difference:.4f} CNY per replica-hour more than {rival}"
)


class UnknownSite(Exception):
    """The site is not in the fleet; the message lists the sites that are."""


def compare_with_site(
    explanation: dict[str, Any], site: str, demand: Demand | NotAccepted
) -> dict[str, Any]:
    """Reduces an explanation to the chosen sites and one site, and compares them.

    Args:
        explanation: the explanation of all sites, in its JSON form.
        site: name of the site to compare with.
        demand: what the workload asks.

    Returns:
        The explanation with a new key `versus`: the site, one sentence, and each cost term of the
        site beside that of the cheapest chosen site.

    Raises:
        UnknownSite: the fleet has no site of this name.
    """
    if isinstance(demand, NotAccepted):
        return explanation | {
            "versus": {"site": site, "sentence": explanation["line"], "terms": []}
        }
    sites = {each["name"]: each for each in explanation["sites"]}
    if site not in sites:
        raise UnknownSite(f"site {site} not found; sites: {', '.join(sites) or 'none'}")
    other = sites[site]
    chosen = [each for each in explanation["sites"] if each["replicas"] and each["name"] != site]
    best = min(chosen, key=_price_key, default=None)
    sentence = _format_comparison(other, chosen, demand)
    return explanation | {
        "sites": [
            each for each in explanation["sites"] if each["name"] == site or each["replicas"]
        ],
        "versus": {
            "site": site,
            "sentence": sentence,
            **json_of(sentence),
            "terms": [] if best is None else _term_differences(other, best),
        },
    }


def _price_key(site: dict[str, Any]) -> tuple[bool, float]:
    total = site["totalCnyPerReplicaHour"]
    return (total is None, total or 0.0)


def _format_comparison(
    other: dict[str, Any], chosen: list[dict[str, Any]], demand: Demand
) -> Sentence:
    name = other["name"]
    if other["replicas"]:
        also = tuple(each["name"] for each in chosen)
        more = (_TOGETHER(sites=also),) if also else ()
        return _CHOSEN(site=name, replicas=other["replicas"], more=more)
    failed = [each for each in other["verdicts"] if each["passed"] is False]
    if failed:
        why = tuple(_VERDICT(reason=each["reason"], sentence=each["sentence"]) for each in failed)
        return _REFUSED(site=name, why=why)
    if not chosen:
        return _NONE_CHOSEN(site=name, room=other["room"])
    prices = _format_price_comparison(other, chosen)
    if other["room"] < demand.replicas:
        return _LITTLE_ROOM(site=name, room=other["room"], wanted=demand.replicas, prices=prices)
    return joined(prices, _format_why_not_chosen(other, chosen, demand))


def _format_price_comparison(other: dict[str, Any], chosen: list[dict[str, Any]]) -> Sentence:
    """Its price beside that of the most expensive chosen site, the first one it could replace."""
    most_expensive = max(chosen, key=_price_key)
    here, there = other["totalCnyPerReplicaHour"], most_expensive["totalCnyPerReplicaHour"]
    name, rival = other["name"], most_expensive["name"]
    if here is None:
        unknown = tuple(
            each["term"] for each in other["costs"] if each["cnyPerReplicaHour"] is None
        )
        return _COST_UNKNOWN(site=name, terms=unknown)
    if there is None:
        return _RIVAL_UNKNOWN(site=name, cost=here, rival=rival)
    if abs(here - there) < _PRICE_TOLERANCE:
        return _SAME_COST(site=name, cost=here, rival=rival)
    message = _COSTS_MORE if here > there else _COSTS_LESS
    return message(site=name, cost=here, difference=abs(here - there), rival=rival)


def _format_why_not_chosen(
    other: dict[str, Any], chosen: list[dict[str, Any]], demand: Demand
) -> str:
    """Why a site that costs no more than the chosen ones was not chosen; empty: it costs more."""
    if _price_key(other) > _price_key(max(chosen, key=_price_key)):
        return ""
    runs = {site for site, count in demand.placed_replicas.items() if count}
    if demand.mode == "Steady" and runs & {each["name"] for each in chosen}:
        return _STEADY()
    if demand.strategy != "CostOptimal":
        return _NOT_BY_PRICE(strategy=demand.strategy)
    if demand.spread or demand.site_groups or demand.preset:
        return _BY_SPREAD()
    return _BY_HASH()


def _term_differences(other: dict[str, Any], best: dict[str, Any]) -> list[dict[str, Any]]:
    """Each cost term of a site, and of the cheapest chosen site; None: unknown."""
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


def compare_two_sites(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two sites of an explanation side by side, whether they were chosen or not.

    Args:
        one: a site, in its JSON form.
        other: another one.

    Returns:
        The sites, one sentence, the rules that they answer differently or that refuse both, and
        each cost term at both.
    """
    terms = {each["term"]: each for each in (*one["costs"], *other["costs"])}
    sentence = joined(
        _format_standing(one),
        NEXT(sentence=_format_standing(other)),
        NEXT(sentence=_format_gap(one, other)),
    )
    return {
        "sites": [one["name"], other["name"]],
        "sentence": sentence,
        **json_of(sentence),
        "rules": [
            {"rule": here["rule"], "reason": here["reason"], "verdicts": [here, there]}
            for here, there in zip(one["verdicts"], other["verdicts"], strict=True)
            if here["passed"] != there["passed"] or here["passed"] is False
        ],
        "terms": [
            {"term": term, "costs": [_cost_at(one, term), _cost_at(other, term)]} for term in terms
        ],
    }


def _format_standing(site: dict[str, Any]) -> Sentence:
    name = site["name"]
    if site["replicas"]:
        return _CHOSEN(site=name, replicas=site["replicas"], more=())
    failed = [each["reason"] for each in site["verdicts"] if each["passed"] is False]
    if failed:
        return _REFUSED_BY(site=name, reasons=tuple(dict.fromkeys(failed)))
    return _NOT_CHOSEN(site=name, room=site["room"])


def _format_gap(one: dict[str, Any], other: dict[str, Any]) -> Sentence:
    here, there = one["totalCnyPerReplicaHour"], other["totalCnyPerReplicaHour"]
    if here is None and there is None:
        return _BOTH_UNKNOWN()
    if here is None or there is None:
        return _ONE_UNKNOWN(site=one["name"] if here is None else other["name"])
    if abs(here - there) < _PRICE_TOLERANCE:
        return _BOTH_COST(cost=here)
    dear, cheap = (one, other) if here > there else (other, one)
    return _COSTS_GAP(site=dear["name"], difference=abs(here - there), rival=cheap["name"])


def _cost_at(site: dict[str, Any], term: str) -> dict[str, Any] | None:
    return next((each for each in site["costs"] if each["term"] == term), None)
