"""The kinds of ours by all names that a person types: plural, singular, short, with the group."""

import difflib

from scheduler.cli.support.arguments import UsageError
from scheduler.control.ports.hub import KAPOK_RESOURCES, ApiResource
from scheduler.model.kinds.kinds import KINDS

_ALL = ("all", "kapok")
"""Every kind; `kapok` is the category of our CRDs."""


def kind_names() -> dict[str, ApiResource]:
    """Every name that `kapok get` takes, with its resource."""
    resources = {one.kind: one for one in KAPOK_RESOURCES}
    found: dict[str, ApiResource] = {}
    for kind in KINDS.values():
        resource = resources[kind.kind]
        for name in (kind.plural, kind.singular, *kind.short_names, kind.kind.lower()):
            found[name] = resource
        for name in (kind.plural, kind.singular):
            found[f"{name}.{resource.group}"] = resource
    return found


def find_kinds(text: str) -> list[ApiResource]:
    """The kinds that a list such as `sites,kw` names; `all` names every one.

    Raises:
        UsageError: a name is none of ours; the message has the nearest one.
    """
    known = kind_names()
    found: dict[str, ApiResource] = {}
    for word in text.lower().split(","):
        if word in _ALL:
            found |= {one.kind: one for one in KAPOK_RESOURCES}
        elif word in known:
            found[known[word].kind] = known[word]
        else:
            near = difflib.get_close_matches(word, known, n=1)
            plurals = ", ".join(one.plural for one in KAPOK_RESOURCES)
            hint = f"did you mean {near[0]}?" if near else f"known: {plurals}"
            raise UsageError(
                f"no kind {word!r} of Kapok; {hint} (other kinds: kapok kubectl get {word})"
            )
    return list(found.values())
