"""Remembers what was computed of a tuple that is never changed, by the very object. Pure.

The manifests of a spec and the groups of a placement are decoded once, and each reconciliation asks
the same of them many times.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from scheduler.model.packed_manifests import PackedManifests

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")

_MAX_REMEMBERED = 256
"""Enough for what is reconciled at once; tuples that are gone are held for no longer than that."""


def remembered(compute: Callable[[Argument], Answer]) -> Callable[[Argument], Answer]:
    """The function, with its last answers remembered.

    Equal arguments that are other objects are computed again: comparing manifests costs as much as
    reading them. Any thread may call the function; two that ask the same at once both compute it.

    Args:
        compute: a pure function of one argument. Neither the argument nor the answer may ever be
            changed by a caller, so a caller that needs a dict of its own copies it.

    Returns:
        The function to call instead; what `compute` raises is raised, and not remembered.
    """
    answers: OrderedDict[int, tuple[Argument, Answer]] = OrderedDict()

    def answer_of(argument: Argument) -> Answer:
        key = id(argument)  # the entry holds the tuple, so no other one has its id
        known = answers.get(key)
        if known is not None:
            return known[1]
        answer = compute(argument)
        answers[key] = (argument, answer)
        if len(answers) > _MAX_REMEMBERED:
            answers.popitem(last=False)
        return answer

    return answer_of


def remembered_of_manifests(compute: Callable[[Any], Answer]) -> Callable[[Any], Answer]:
    """The function, with its answers remembered where manifests are held as a spec holds them.

    That is as a tuple, or packed: then the answer goes when the decoded form does, because it may
    hold parts of that. Of anything else, such as a list, the answer is computed each time.
    """
    of_tuple = remembered(compute)

    def answer_of(manifests: Any) -> Answer:  # noqa: ANN401 - what `compute` takes
        if isinstance(manifests, PackedManifests):
            return manifests.answer(compute)
        return of_tuple(manifests) if type(manifests) is tuple else compute(manifests)

    return answer_of
