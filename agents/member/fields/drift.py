"""What a person changed in an object of ours at the site, found without changing anything.

The server says what an apply would change: the agent tries it (`dryRun`) and compares the answer
with what is there. Fields that another controller has taken over are left to it, as in
`shared_fields`, and are no drift.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.fields.shared_fields import narrow_to_ours
from agents.member.trees import map_at, text_at
from agents.protocol.status import MAX_DRIFTED_FIELDS

_MAX_DEPTH: Final = 64
_MAX_FIELD_CHARACTERS: Final = 200
_UNKNOWN_FIELD: Final = "(the cluster does not say which field)"
_OF_THE_SERVER: Final = frozenset({"apiVersion", "kind", "status"})
_METADATA_OF_THE_SERVER: Final = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)


def find_drifted_fields(api: MemberApi, path: str, tree: Tree) -> tuple[tuple[str, ...], list[str]]:
    """The fields in which an object differs from what the order wants.

    Args:
        api: API of the member.
        path: path of the object, which exists and is ours.
        tree: the object, as the order wants it.

    Returns:
        At most `MAX_DRIFTED_FIELDS` paths, never values; and what is left to other controllers, as
        sentences. The paths are empty if an apply would change nothing.

    Raises:
        MemberApiError: the member does not answer.
    """
    left: list[str] = []
    try:
        narrowed, left = narrow_to_ours(api, path, tree)
        wanted = api.apply(path, narrowed, force=True, is_trial=True)
        live = api.find(path)
    except MemberApiError as error:
        if error.code == 0:
            raise
        return (_UNKNOWN_FIELD,), left  # a webhook without dry run, or a field that cannot change
    if live is None or text_at(map_at(live, "metadata"), "deletionTimestamp"):
        return (), left  # the next pass sees that it is gone
    found: list[str] = []
    for field in _differences(live, wanted, "", 0):
        if len(found) == MAX_DRIFTED_FIELDS:
            break
        found.append(field[:_MAX_FIELD_CHARACTERS])
    return tuple(found), left


def _differences(live: Any, wanted: Any, path: str, depth: int) -> Iterator[str]:  # noqa: ANN401 - JSON
    """The paths of the smallest parts that differ; a list of another length counts as one part."""
    if live == wanted:
        return
    if depth < _MAX_DEPTH and isinstance(live, Mapping) and isinstance(wanted, Mapping):
        ignored = {"": _OF_THE_SERVER, "metadata": _METADATA_OF_THE_SERVER}.get(path, frozenset())
        for name in sorted((live.keys() | wanted.keys()) - ignored):
            inner = f"{path}.{name}" if path else name
            yield from _differences(live.get(name), wanted.get(name), inner, depth + 1)
        return
    both = isinstance(live, list) and isinstance(wanted, list)
    if depth < _MAX_DEPTH and both and len(live) == len(wanted):
        for at, (one, other) in enumerate(zip(live, wanted, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]", depth + 1)
        return
    yield path
