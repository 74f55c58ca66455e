"""The operator's word, `kapok failover`, as an annotation of the Site that is to be left. Pure.

It stands on the Site and not on the Workload, because only operators may write Sites: a tenant may
write its Workloads, and could ask there for anything in an operator's name. By itself an annotation
changes no decision and no record. Each word has an id and is followed once: the answer in
`Workload.status.failover` ends it. It names the uid, so that it is not about a later workload.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.printable import printable

WORDS_ANNOTATION = "failover.kapok.dev/words"
WHOLE_COPIES = "each of its sites has a whole copy, which no other site replaces"
"""The answer to a word about work of the strategy Duplicated."""

MAX_WORDS = 256
_MAX_CHARACTERS = 128 * 1024
_MAX_ID, _MAX_BY = 64, 256


class OperatorWord(NamedTuple):
    """One workload that is to leave a site.

    Attributes:
        key: the workload.
        uid: of the workload; empty: not said, and then nothing is followed.
        id: of the word; the answer names it.
        by: who asked, by the name that the hub knows.
    """

    key: WorkKey
    uid: str
    id: str
    by: str


def read_words(annotations: Mapping[str, str]) -> tuple[OperatorWord, ...]:
    """The words on a Site; what cannot be read is left out."""
    text = annotations.get(WORDS_ANNOTATION, "")
    if not text or len(text) > _MAX_CHARACTERS:
        return ()
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(read, dict):
        return ()
    words = (_word_of(name, value) for name, value in list(read.items())[:MAX_WORDS])
    return tuple(one for one in words if one is not None)


def _word_of(name: str, value: Any) -> OperatorWord | None:  # noqa: ANN401 - JSON
    namespace, slash, workload = name.partition("/")
    if not (namespace and slash and workload) or not isinstance(value, dict):
        return None
    uid, word, by = (value.get(name) for name in ("uid", "id", "by"))
    if not (isinstance(uid, str) and isinstance(word, str) and isinstance(by, str) and word):
        return None
    if not (name.isascii() and uid.isascii()):
        return None  # of Kubernetes all are; JSON can name lone surrogates, which nothing can write
    return OperatorWord(
        (namespace, workload), uid, printable(word)[:_MAX_ID], printable(by)[:_MAX_BY] or "unknown"
    )


def write_words(words: Iterable[OperatorWord]) -> str:
    """The annotation with these words, the newest last; the oldest make room.

    A later word about a workload replaces the former one.
    """
    latest: dict[str, dict[str, str]] = {}
    for one in words:
        name = "/".join(one.key)
        latest.pop(name, None)
        latest[name] = {"uid": one.uid, "id": one.id[:_MAX_ID], "by": one.by[:_MAX_BY]}
    kept = list(latest.items())[-MAX_WORDS:]
    while len(text := _to_json(dict(kept))) > _MAX_CHARACTERS:
        kept = kept[len(kept) // 8 + 1 :]
    return text


def _to_json(words: Mapping[str, Any]) -> str:
    return json.dumps(words, ensure_ascii=False, separators=(",", ":"))
