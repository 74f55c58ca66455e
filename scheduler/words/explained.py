"""What an explanation says beside its verdicts: offers of changes, and reasons in plain words.

As JSON data, in English: slugs and values beside each sentence say it in another language.
"""

from collections.abc import Mapping
from typing import Any

from scheduler.model.decision import SuggestedChange
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.words.catalogue import catalogue_of, sentence_json

_OFFER = Message(
    "change", "would fit with {fields:plus} of {target}: {was|(none)} -> {becomes|(none)}"
)


def plain_reasons(reasons: Mapping[Reason, int]) -> list[dict[str, Any]]:
    """The reasons of a decision as JSON: how many sites, what each means, and who to ask."""
    known = catalogue_of("en").reasons
    return [
        {
            "reason": reason,
            "sites": count,
            "sentence": known[reason].sentence,
            "who": known[reason].who,
            "ask": known[reason].ask,
        }
        for reason, count in reasons.items()
        if reason in known
    ]


def offer_of(change: dict[str, Any]) -> Sentence:
    """The sentence that offers a change.

    Args:
        change: an entry of `smallestChange`.
    """
    return _OFFER(
        fields=tuple(change["kind"].split(" + ")),
        target=change["target"],
        was=change["from"],
        becomes=change["to"],
    )


def offer_json(change: SuggestedChange) -> dict[str, Any]:
    """An entry of `smallestChange`, with its sentence."""
    entry = {
        "kind": change.kind,
        "target": change.target,
        "from": change.from_,
        "to": change.to,
        "verified": change.verified,
        "who": change.who,
        "site": change.site,
    }
    return entry | sentence_json(change.sentence or offer_of(entry))
