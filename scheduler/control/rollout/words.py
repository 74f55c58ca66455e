"""An operator's word about a rollout, `kapok rollout`, as an annotation of the Workload. Pure.

It stands on the Workload: who may change its content may hold it, let it go on, or take it back. By
itself an annotation changes no decision and no record. Each word has an id and is followed once;
`Workload.status.rollout.word` is the id of the last one, so a restart follows none again.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from scheduler.model.rollout.question import RolloutWord
from scheduler.runtime.printable import printable

WORD_ANNOTATION = "rollout.kapok.dev/word"
_MAX_ID = 64
_WORDS: Final[Mapping[str, RolloutWord]] = {"pause": "pause", "resume": "resume", "undo": "undo"}


class WrittenWord(NamedTuple):
    """A word about a rollout.

    Attributes:
        word: pause, resume or undo; "": there is none.
        id: of the word; "" when there is none.
    """

    word: RolloutWord
    id: str


NO_WORD = WrittenWord("", "")


def read_word(annotations: Mapping[str, str]) -> WrittenWord:
    """The word on a Workload; what cannot be read is none."""
    word, _, name = annotations.get(WORD_ANNOTATION, "").partition(" ")
    name = printable(name.strip())[:_MAX_ID]
    found = _WORDS.get(word)
    return WrittenWord(found, name) if found and name else NO_WORD


def write_word(word: RolloutWord, name: str) -> str:
    """The annotation with a word."""
    return f"{word} {name}"[: _MAX_ID + len("resume ")]
