"""Patches and images: against another implementation of RFC 6902, and by laws of their own."""

from copy import deepcopy
from typing import Any

import jsonpatch
import jsonpointer
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.model.kinds.overrides import ImageRegistry, PatchOperation
from scheduler.model.overrides.images import rewritten
from scheduler.model.overrides.json_patch import PatchFailed, apply_patch

Json = Any
NAMES = st.sampled_from(("a", "b", "a/b", "~", "~1", "", "0", "-", ".."))
STEPS = st.one_of(NAMES, st.sampled_from(("1", "01", "2", "-1", "1.0", "9999999999")))
SCALARS = st.one_of(st.integers(0, 3), st.sampled_from(("x", "y", "")), st.none())
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)


@st.composite
def pointers(draw: st.DrawFn, document: Json) -> str:
    """Most lead somewhere, or end just beside it."""
    steps: list[str] = []
    value = document
    while draw(st.integers(0, 3)) or not steps:
        if isinstance(value, dict) and value and draw(st.integers(0, 4)):
            step = draw(st.sampled_from(sorted(value)))
            value = value[step]
        elif isinstance(value, list) and value and draw(st.integers(0, 4)):
            index = draw(st.integers(0, len(value) - 1))
            step, value = str(index), value[index]
        else:
            steps.append(draw(STEPS))
            break
        steps.append(step)
    return "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in steps)


@st.composite
def patches(draw: st.DrawFn) -> tuple[dict[str, Json], list[dict[str, Json]]]:
    document = draw(DOCUMENTS)
    operations = []
    for _ in range(draw(st.integers(1, 4))):
        op = draw(st.sampled_from(("add", "remove", "replace", "move", "copy", "test")))
        one: dict[str, Json] = {"op": op, "path": draw(pointers(document))}
        if op in ("move", "copy"):
            one["from"] = draw(pointers(document))
        elif op != "remove":
            one["value"] = draw(VALUES)
        operations.append(one)
    return document, operations


def ours(document: dict[str, Json], operations: list[dict[str, Json]]) -> Json:
    made = tuple(
        PatchOperation(
            op=each["op"], path=each["path"], from_=each.get("from", ""), value=each.get("value")
        )
        for each in operations
    )
    try:
        return apply_patch(document, made, "patch")
    except PatchFailed as error:
        assert str(error).startswith("patch[")  # noqa: PT017 - the other one fails, too
        return None


def theirs(document: dict[str, Json], operations: list[dict[str, Json]]) -> Json:
    result = deepcopy(document)
    for each in operations:
        if each["op"] == "move" and each["path"].startswith(each["from"] + "/"):
            return None  # RFC 6902, 4.4: a place cannot move into itself
        try:
            result = jsonpatch.JsonPatch([each]).apply(result)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
            return None
    return result


@settings(deadline=None)
@given(patches())
@example(({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}]))
@example(({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}]))
@example(({"a/b": 1}, [{"op": "replace", "path": "/a~1b", "value": 2}]))
@example(({"~1": 1}, [{"op": "remove", "path": "/~01"}]))
@example(({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}]))
def test_a_patch_gives_what_another_implementation_gives(
    case: tuple[dict[str, Json], list[dict[str, Json]]],
) -> None:
    document, operations = case
    before = deepcopy(document)
    assert ours(document, operations) == theirs(document, operations)
    assert document == before, "a document stays as it is"


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(patches())
def test_many_patches_give_what_another_implementation_gives(
    case: tuple[dict[str, Json], list[dict[str, Json]]],
) -> None:
    assert ours(*case) == theirs(*case)


PARTS = st.lists(st.sampled_from(("a", "b", "library", "x-y")), min_size=1, max_size=3)
HOSTS = st.sampled_from(("", "docker.io", "a.io", "A.io", "a.io:5000", "localhost", "[::1]:80"))
SUFFIXES = st.sampled_from(("", ":1", ":V2", "@sha256:0f", ":1@sha256:0f"))


@st.composite
def rules(draw: st.DrawFn) -> ImageRegistry:
    host = draw(st.sampled_from(("docker.io", "a.io", "a.io:5000", "localhost")))
    path = draw(st.lists(st.sampled_from(("a", "b", "library")), max_size=2))
    return ImageRegistry(
        from_="/".join([host, *path]), to=draw(st.sampled_from(("m.io", "m.io/q")))
    )


def in_full(host: str, parts: list[str]) -> list[str]:
    """An image in normal form, step by step, as an independent reader would write it."""
    if not host:
        host = "docker.io"
    if host == "docker.io" and len(parts) == 1:
        parts = ["library", *parts]
    return [host.lower(), *parts]


@settings(deadline=None)
@given(host=HOSTS, parts=PARTS, suffix=SUFFIXES, known=st.lists(rules(), max_size=5))
def test_the_longest_registry_of_an_image_is_replaced(
    host: str, parts: list[str], suffix: str, known: list[ImageRegistry]
) -> None:
    image = "/".join(([host] if host else []) + parts) + suffix
    full = in_full(host, parts)
    fitting = [each for each in known if full[: each.from_.count("/") + 1] == each.from_.split("/")]
    best = max(fitting, key=lambda each: each.from_.count("/"), default=None)
    expected = image
    if best is not None:
        expected = "/".join([best.to, *full[best.from_.count("/") + 1 :]]) + suffix
    assert rewritten(image, known) == expected


@settings(deadline=None)
@given(st.text(max_size=60), st.lists(rules(), max_size=3))
@example("a.io/" + "a" * 2000, [ImageRegistry(from_="a.io", to="m.io")])
def test_any_text_is_an_image_that_stays_or_begins_with_a_registry(
    text: str, known: list[ImageRegistry]
) -> None:
    after = rewritten(text, known)
    assert after == text or any(after.startswith(each.to) for each in known)
