"""The decision: pure, exact, fast, explained.

    fleet = Fleet()
    fleet.upsert(site_facts(site, grants, in_flight=...))      # one SiteFacts per site; cheap to
    repeat demand = demand_of(workload, scheme=..., tenants=...)      # scheduler.model.accept
    decision = choose(demand, fleet, now=now, terms=terms)     # a value; nothing was changed
    fleet.commit(demand, decision)                             # what was ordered is now in flight
    explanation = explain(demand, fleet, now=now, terms=terms) # every verdict, every cost

Everything that can influence a decision is in `demand`, the facts in `fleet.all_facts()`, `now`,
`terms` and `ENGINE_VERSION`: a record of these decides again byte for byte (`decision_bytes`).

The five steps stand on one page in `choose.py`; a hard rule is one file in `constraints/`, a cost
one file in `costs/`; both are found by themselves. `evicting.py` says what may stay where it runs,
`fit.py` how many replicas a site really takes, `divide.py` and `spread.py` who gets how many.
"""

from scheduler.model.decision import ENGINE_VERSION, Decision, Explanation, decision_bytes
from scheduler.model.terms import DEFAULT_TERMS, Terms
from scheduler.placement.choose import choose
from scheduler.placement.explain import explain
from scheduler.placement.fleet import Fleet

__all__ = [
    "DEFAULT_TERMS",
    "ENGINE_VERSION",
    "Decision",
    "Explanation",
    "Fleet",
    "Terms",
    "choose",
    "decision_bytes",
    "explain",
]
