"""Fields that agents leave to other controllers at their sites: condition FieldsLeft."""

from collections.abc import Mapping
from datetime import datetime

from scheduler.control.status.migration import SiteView
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition

FIELDS_LEFT = "FieldsLeft"
_LEFT = " is left to "
"""How agents name a field and the controller that owns it."""
_MORE_LEFT = " more fields are left to "
_MAX_LISTED = 8


def left_fields_condition(views: Mapping[str, SiteView], now: datetime) -> Condition | None:
    """The condition FieldsLeft of a workload; None when everything is as the orders have it.

    Args:
        views: what is known of each site that holds a share, by site.
        now: the time of the condition, if it is new.
    """
    found = [
        f"{site}: {sentence}"
        for site, view in sorted(views.items())
        for sentence in _sentences_of(view)
    ]
    if not found:
        return None
    return Condition(
        type=FIELDS_LEFT,
        status="True",
        reason="OwnedByAnotherController",
        message=f"not as ordered: {format_list(found, _MAX_LISTED)}"[:1024],
        last_transition_time=now,
    )


def _sentences_of(view: SiteView) -> list[str]:
    """What a site says of fields that its agent left; a site that is silent said it last."""
    words = view.state.message.split("; ") if view.state is not None else []
    return [one for one in words if _LEFT in one or _MORE_LEFT in one]
