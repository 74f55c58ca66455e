"""What an operator says about evictions, and what the leader says: two small objects of the hub.

`kapok freeze` and `kapok thaw` write the ConfigMap kapok-freeze, which outlives every process. The
leader writes the ConfigMap kapok-evictions, so that commands and plain kubectl read what holds
evictions back, and whether it has taken in the last word. Two objects, because RBAC is not per
field: who may freeze must not be able to forge the answer.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Object

FREEZE_MAP = "kapok-freeze"
EVICTIONS_MAP = "kapok-evictions"
MAX_WHY_CHARACTERS = 500

_MAX_SHORT_CHARACTERS = 253
_STATE_KEY, _WORD_KEY = "state", "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWord:
    """The last word of an operator.

    Attributes:
        is_frozen: whether evictions are to be frozen.
        since: when it was said, RFC 3339.
        why: the operator's reason.
        by: the user as the command asked the hub; who may write the object may write anything.
        id: another one for each word; "" before the first.
    """

    is_frozen: bool
    since: str = ""
    why: str = ""
    by: str = ""
    id: str = ""

    def to_data(self) -> dict[str, str]:
        """The data of its ConfigMap."""
        return {
            "frozen": "true" if self.is_frozen else "false",
            "since": self.since,
            "why": self.why,
            "by": self.by,
            "id": self.id,
        }


NO_WORD = FreezeWord(is_frozen=False)


def read_word(body: Mapping[str, Any]) -> FreezeWord:
    """The word in the ConfigMap kapok-freeze.

    What cannot be read freezes: it must not let through what a person may have wanted to stop.
    """
    data = body.get("data") or {}
    if not isinstance(data, Mapping) or not data:
        return NO_WORD
    frozen, version = data.get("frozen"), (body.get("metadata") or {}).get("resourceVersion", "")
    known_id = _text(data, "id") or str(version)
    if frozen not in ("true", "false"):
        return FreezeWord(
            is_frozen=True,
            why=f'the ConfigMap {FREEZE_MAP} has neither "true" nor "false" as `frozen`; '
            "run kapok freeze or kapok thaw",
            id=known_id,
        )
    return FreezeWord(
        is_frozen=frozen == "true",
        since=_text(data, "since"),
        why=_text(data, "why", MAX_WHY_CHARACTERS),
        by=_text(data, "by"),
        id=known_id,
    )


def freeze_body(word: FreezeWord) -> Object:
    """The ConfigMap kapok-freeze."""
    return _config_map(FREEZE_MAP, word.to_data())


def evictions_body(state: Mapping[str, object], word_id: str) -> Object:
    """The ConfigMap kapok-evictions.

    Args:
        state: as `/api/v1/evictions` has it, without what is never the same for long.
        word_id: the last word that the leader has taken in.
    """
    return _config_map(EVICTIONS_MAP, {_STATE_KEY: json.dumps(state), _WORD_KEY: word_id})


def read_evictions(body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """State and last word of the ConfigMap kapok-evictions; ({}, "") if there are none."""
    data = body.get("data") or {}
    try:
        state = json.loads(data.get(_STATE_KEY, "{}"))
    except (TypeError, ValueError):
        state = {}
    return (state if isinstance(state, dict) else {}), str(data.get(_WORD_KEY, ""))


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
