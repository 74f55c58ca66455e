"""An answer in the language of the reader: its sentences, lines, notes and offers.

The keys and slugs stay as they are. What is not recognised as a text of ours stays as it was
written, as do names and the words of users.
"""

from functools import lru_cache
from typing import Any, Final

from scheduler.words.catalogue import Catalogue, catalogue_of
from scheduler.words.languages import Language

_SAID: Final = frozenset({"line", "sentence", "notes", "problem"})
_MAX_REMEMBERED: Final = 20_000
_LONGEST: Final = 4096
"""A longer text is not of ours."""


def in_language(answer: Any, language: Language) -> Any:  # noqa: ANN401 - any JSON value
    """A copy of an answer with its texts in a language.

    Args:
        answer: JSON, where sentences may know their slugs.
        language: of the reader.
    """
    return answer if language == "en" else _said(answer, "", catalogue_of(language))


def _said(value: Any, key: str, words: Catalogue) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return _said_object(value, words)
    if isinstance(value, list | tuple):
        return [_said(one, key, words) for one in value]
    if not isinstance(value, str) or len(value) > _LONGEST:
        return value
    is_said = key in _SAID or (key == "reason" and " " in value)  # a status says its line there
    return _say(words.language, value) if is_said else value


def _said_object(value: dict[str, Any], words: Catalogue) -> dict[str, Any]:
    plain = words.reasons.get(value.get("reason", "")) if "ask" in value else None
    if plain is not None:  # what a reason means, for a reader who does not know Kapok
        return value | {"sentence": plain.sentence, "ask": plain.ask}
    said = {name: _said(one, name, words) for name, one in value.items()}
    # Beside a sentence `message` is its slug; alone it is what a condition or an event says.
    message = value.get("message")
    if "sentence" not in value and isinstance(message, str) and len(message) <= _LONGEST:
        said["message"] = _say(words.language, message)
    return said


@lru_cache(_MAX_REMEMBERED)
def _say(language: Language, text: str) -> str:
    """A text in a language; the same lines and verdicts are asked for again and again."""
    return catalogue_of(language).say(text)
