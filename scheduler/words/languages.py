"""The language of the reader: what `kapok --lang` says, else the environment, else English.

Every command asks for it before anything else is imported, so nothing of ours is imported here.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""As POSIX orders them: the first that is set decides."""

_chosen: ContextVar[Language] = ContextVar("language", default="en")


class UnknownLanguage(ValueError):
    """There is no catalogue of the language; the message names those that there are."""


def language_of(environment: Mapping[str, str]) -> Language:
    """The language that an environment asks for; English where it asks for another one or none."""
    value = next((environment[name] for name in VARIABLES if environment.get(name)), "")
    code = value.partition(".")[0].partition("_")[0].partition("-")[0].lower()
    return next((each for each in LANGUAGES if each == code), "en")


def parse_language(code: str) -> Language:
    """The language of a code.

    Raises:
        UnknownLanguage: there is no such catalogue.
    """
    for each in LANGUAGES:
        if each == code:
            return each
    raise UnknownLanguage(f"no language {code!r}; write {' or '.join(LANGUAGES)}")


def choose_language(language: Language) -> None:
    """Makes a language that of all that this program says to people from now on."""
    _chosen.set(language)


def chosen_language() -> Language:
    """The language that was chosen last; English before."""
    return _chosen.get()
