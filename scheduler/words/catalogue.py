"""A catalogue: the sentences, labels and plain explanations of one language.

Both languages have the same slugs with the same slots; `tests/unit/words` compares them with each
other and with the messages in the code.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from scheduler.model.words.phrases import Phrases, fill
from scheduler.model.words.sentence import Sentence, joined, json_of
from scheduler.words.languages import Language, chosen_language
from scheduler.words.recognise import Recogniser

_NAMED = re.compile(r"([\w./@-]{1,253}): (.{1,4096})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PlainReason:
    """What a reason means, for a reader who knows neither Kapok nor Kubernetes.

    Attributes:
        sentence: one sentence.
        who: `tenant`, `operator` or `authority`: who can change it.
        ask: what to do, and who to ask.
    """

    sentence: str
    who: str
    ask: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """One language.

    Attributes:
        language: its code.
        phrases: how it writes lists and instants.
        messages: templates by slug.
        labels: words of tables, and names of fields, by their English form.
        reasons: plain explanations by reason.
        recogniser: finds the message of a recorded text; None: the text is of this language.
    """

    language: Language
    phrases: Phrases
    messages: Mapping[str, str]
    labels: Mapping[str, str]
    reasons: Mapping[str, PlainReason] = field(default_factory=dict)
    recogniser: Recogniser | None = None

    def say(self, text: str) -> str:
        """A sentence, label or recorded text in this language; what is not known stays English."""
        if self.recogniser is None:
            return str(text)
        if isinstance(text, Sentence) and text.slug in self.messages:
            return self._fill(text)
        if text in self.labels:
            return self.labels[text]
        found, rest = self.recogniser.recognise_beginning(str(text))
        if not found:
            return self._say_after_name(text)
        return "".join(self._fill(one) for one in found) + rest

    def _say_after_name(self, text: str) -> str:
        """A sentence after the name of what it is about (`m1: …`, `too-far: …`)."""
        named = _NAMED.fullmatch(text)
        if named is None:
            return str(text)
        rest = self.say(named[2])
        return str(text) if rest == named[2] else f"{named[1]}{self.phrases.colon}{rest}"

    def _fill(self, sentence: Sentence) -> str:
        return fill(self.messages[sentence.slug], sentence.values, self.phrases, self.say)

    def label(self, text: str) -> str:
        """A word of a table, or the name of a field; what is not known stays English."""
        return self.labels.get(text, text)


@cache
def catalogue_of(language: Language) -> Catalogue:
    """The catalogue of a language, read once."""
    content = json.loads(catalogue_text(language))
    return Catalogue(
        language=language,
        phrases=msgspec.convert(content["phrases"], Phrases),
        messages=content["messages"],
        labels=content["labels"],
        reasons=_plain_reasons(content),
        recogniser=None if language == "en" else _recogniser(),
    )


def sentence_json(text: str) -> dict[str, Any]:
    """A sentence as JSON data: its English text, the slug of its message, and its values.

    Args:
        text: a `Sentence`, or a recorded text, which is recognised; one that is not known has no
            slug.
    """
    if isinstance(text, Sentence):
        return {"sentence": str(text), **json_of(text)}
    found = _recogniser().recognise(text)
    said = found[0] if len(found) == 1 else joined(*found) if found else text
    return {"sentence": text, **json_of(said)}


def reader_catalogue() -> Catalogue:
    """The catalogue of the language that the reader has chosen."""
    return catalogue_of(chosen_language())


def catalogue_text(language: Language) -> str:
    """The file of a language, as the page gets it."""
    return (Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8")


def _plain_reasons(content: dict[str, Any]) -> dict[str, PlainReason]:
    return {
        reason: PlainReason(one["sentence"], one["who"], content["ask"][one["who"]])
        for reason, one in content["reasons"].items()
    }


@cache
def _recogniser() -> Recogniser:
    return Recogniser(json.loads(catalogue_text("en"))["messages"])
