"""What an operator says about drills, and what the leader says: two small objects of the hub.

`kapok drill` writes the ConfigMap kapok-drill, one word at a time. The leader writes the ConfigMap
kapok-drill-state: the drill that runs, with what is measured, so that the next leader goes on with
it; the report of the last one; and which word it has taken in. Two objects, because RBAC is not per
field: who may drill must not be able to forge a report.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Object
from scheduler.model.drills.drill import Drill
from scheduler.model.kinds.fields import Part

DRILL_MAP: Final = "kapok-drill"
DRILL_STATE_MAP: Final = "kapok-drill-state"
MAX_WHY_CHARACTERS: Final = 500

_MAX_SHORT_CHARACTERS = 253
_STATE_KEY, _WORD_KEY = "state", "word"
_MAX_STATE_CHARACTERS = 900_000
"""Below the 1 MiB that a ConfigMap may have."""

Action = Literal["", "lose", "end"]
_ACTIONS: Mapping[str, Action] = {"lose": "lose", "end": "end"}


class DrillWord(Part, frozen=True, kw_only=True):
    """The last word of an operator.

    Attributes:
        id: another one for each word; "" before the first.
        action: lose a site, or end a drill; "" for what cannot be read.
        site: what is to be treated as lost.
        seconds: for how long; 0: not readable.
        drill: the drill to end; "": the one that runs.
        by: the user as the command asked the hub; who may write the object may write anything.
        why: the operator's reason.
        said_at: when it was said, by the operator's clock; a word that waited long is not followed.
    """

    id: str = ""
    action: Action = ""
    site: str = ""
    seconds: float = 0.0
    drill: str = ""
    by: str = ""
    why: str = ""
    said_at: datetime | None = None

    def to_data(self) -> dict[str, str]:
        """The data of its ConfigMap."""
        return {
            "id": self.id,
            "action": self.action,
            "site": self.site,
            "seconds": f"{self.seconds:g}",
            "drill": self.drill,
            "by": self.by,
            "why": self.why,
            "saidAt": self.said_at.isoformat() if self.said_at else "",
        }


class RefusedWord(Part, frozen=True, kw_only=True):
    """A word that was not followed.

    Attributes:
        id: of the word.
        reason: one word, such as `EvictionsFrozen`.
        message: the sentence.
    """

    id: str
    reason: str
    message: str


class DrillState(Part, frozen=True, kw_only=True):
    """What the leader says.

    Attributes:
        running: the drill that runs.
        last: the report of the last drill that ended.
        refused: the last word, if it was not followed.
    """

    running: Drill | None = None
    last: dict[str, Any] | None = None
    refused: RefusedWord | None = None


def read_drill_word(body: Mapping[str, Any]) -> DrillWord:
    """The word in the ConfigMap kapok-drill; what cannot be read asks for nothing."""
    data = body.get("data") or {}
    if not isinstance(data, Mapping):
        return DrillWord()
    return DrillWord(
        id=_text(data, "id", 64),
        action=_ACTIONS.get(_text(data, "action"), ""),
        site=_text(data, "site"),
        seconds=_number(_text(data, "seconds", 32)),
        drill=_text(data, "drill", 64),
        by=_text(data, "by"),
        why=_text(data, "why", MAX_WHY_CHARACTERS),
        said_at=_instant(_text(data, "saidAt", 64)),
    )


def drill_word_body(word: DrillWord) -> Object:
    """The ConfigMap kapok-drill."""
    return _config_map(DRILL_MAP, word.to_data())


def read_drill_state(body: Mapping[str, Any]) -> tuple[DrillState, str]:
    """State of the ConfigMap kapok-drill-state, and the last word that the leader has taken in."""
    data = body.get("data") or {}
    if not isinstance(data, Mapping):
        return DrillState(), ""
    try:
        state = msgspec.json.decode(str(data.get(_STATE_KEY, "{}")), type=DrillState)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        state = DrillState()
    return state, str(data.get(_WORD_KEY, ""))


def drill_state_body(state: DrillState, word_id: str) -> Object:
    """The ConfigMap kapok-drill-state; of more workloads than it has room for some are left out.

    Args:
        state: what the leader says.
        word_id: the last word that it has taken in.
    """
    text = _encoded(state)
    while len(text) > _MAX_STATE_CHARACTERS and (shorter := _shortened(state)) != state:
        state, text = shorter, _encoded(shorter)
    return _config_map(DRILL_STATE_MAP, {_STATE_KEY: text, _WORD_KEY: word_id})


def _encoded(state: DrillState) -> str:
    return json.dumps(msgspec.to_builtins(state), ensure_ascii=False, separators=(",", ":"))


def _shortened(state: DrillState) -> DrillState:
    """The state with half of the rows of its report, else of what is measured."""
    last = state.last or {}
    lists = {name: rows for name, rows in last.items() if isinstance(rows, list) and rows}
    if lists:
        halved = {name: rows[: len(rows) // 2] for name, rows in lists.items()}
        return msgspec.structs.replace(state, last={**last, **halved, "shortened": True})
    running = state.running
    if running is None or not running.work:
        return state
    kept = running.work[: len(running.work) // 2]
    left = running.unmeasured + len(running.work) - len(kept)
    return msgspec.structs.replace(
        state, running=msgspec.structs.replace(running, work=kept, unmeasured=left)
    )


def _config_map(name: str, data: Mapping[str, str]) -> Object:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": dict(data),
    }


def _text(data: Mapping[str, Any], key: str, most: int = _MAX_SHORT_CHARACTERS) -> str:
    """A text for one line of a log or a table, as long as it may be."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", str(data.get(key, "")))[:most].strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
