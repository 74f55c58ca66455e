"""Fields of manifests that are not applied as they are written: FieldsLeft and FieldsRemoved.

Agents leave fields to other controllers at their sites. Fields that another cluster wrote are
removed before that; the embedded hub also warns the client, with another hub the condition says it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.control.status.migration import SiteView
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import mapping_or_empty

FIELDS_LEFT = "FieldsLeft"
FIELDS_REMOVED = "FieldsRemoved"
_LEFT = " is left to "
"""How agents name a field and the controller that owns it."""
_MORE_LEFT = " more fields are left to "
_MAX_LEFT_LISTED = 8
_MAX_REMOVED_LISTED = 12
_MEANING = "a cluster wrote it, and it means nothing at another; leave it out"


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
        message=f"not as ordered: {format_list(found, _MAX_LEFT_LISTED)}"[:1024],
        last_transition_time=now,
    )


def _sentences_of(view: SiteView) -> list[str]:
    """What a site says of fields that its agent left; a site that is silent said it last."""
    words = view.state.message.split("; ") if view.state is not None else []
    return [one for one in words if _LEFT in one or _MORE_LEFT in one]


def removed_fields_condition(workload: Workload, now: datetime) -> Condition | None:
    """The condition FieldsRemoved of a workload; None when nothing is removed."""
    _, paths = clean_manifests(workload.spec.manifests)
    if not paths:
        return None
    return Condition(
        type=FIELDS_REMOVED,
        status="True",
        reason="WrittenByAnotherCluster",
        message=f"not applied: {format_list(list(paths), _MAX_REMOVED_LISTED)}"[:1024],
        last_transition_time=now,
    )


def removed_fields_warnings(raw: dict[str, Any]) -> list[str]:
    """The warnings for a client that writes a workload; none when it is none that decodes."""
    manifests = mapping_or_empty(raw.get("spec")).get("manifests")
    if not isinstance(manifests, list) or not all(isinstance(one, dict) for one in manifests):
        return []
    _, paths = clean_manifests(manifests)  # a list: nothing is remembered of it
    found = [f"{path} is not applied: {_MEANING}" for path in paths[:_MAX_REMOVED_LISTED]]
    if len(paths) > _MAX_REMOVED_LISTED:
        found.append(
            f"{len(paths) - _MAX_REMOVED_LISTED} more fields of spec.manifests are not applied"
        )
    return found
