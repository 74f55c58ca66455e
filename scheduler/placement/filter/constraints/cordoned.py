"""A cordoned site takes no new work; what runs there stays, unless the site is drained."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_DRAINED = Message("cordoned.drained", "{site} is being drained")
_CORDONED = Message("cordoned.yes", "{site} is cordoned")
_OPEN = Message("cordoned.no", "{site} is not cordoned")


class Cordoned:
    """`spec.cordon` must be false, and there must be no `spec.drain`."""

    reason: Reason = "cordoned"
    wake_events: frozenset[WakeEvent] = frozenset({"site"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites are not cordoned."""
        del demand, context
        return fleet.description_column(
            self.reason, lambda facts: not facts.spec.is_cordoned, np.bool_
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says whether the site is cordoned."""
        del demand, context
        if facts.spec.drain is not None:
            return _DRAINED(site=facts.name)
        return (_CORDONED if facts.spec.cordon else _OPEN)(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests to open the site again."""
        spec = replace(refused.facts.spec, cordon=False, drain=None)
        return change_site("cordon", "true", "false", replace(refused.facts, spec=spec))


RULE = Cordoned()
