"""Remembers what was computed of the manifests of a spec, by the very tuple that holds them. Pure.

A spec is decoded once and never changed, and each reconciliation asks the same of it several times.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Answer = TypeVar("Answer")

_MAX_REMEMBERED = 256
"""Enough for what is reconciled at once; specs that are gone are held for no longer than that."""


def remembered(
    compute: Callable[[Sequence[dict[str, Any]]], Answer],
) -> Callable[[tuple[dict[str, Any], ...]], Answer]:
    """The function, with its last answers remembered; it must change nothing of its argument."""
    answers: OrderedDict[int, tuple[tuple[dict[str, Any], ...], Answer]] = OrderedDict()

    def answer_of(manifests: tuple[dict[str, Any], ...]) -> Answer:
        key = id(manifests)  # the answer holds the tuple, so no other one has its id
        known = answers.get(key)
        if known is not None:
            return known[1]
        answer = compute(manifests)
        answers[key] = (manifests, answer)
        if len(answers) > _MAX_REMEMBERED:
            answers.popitem(last=False)
        return answer

    return answer_of
