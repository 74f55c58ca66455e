"""What the text of manifests shows at a glance never hides what walking through them would find."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.model.manifests import checks, secrets
from scheduler.model.manifests.checks import BadManifest
from scheduler.model.manifests.cleaning import MAX_DEPTH, clean_manifests
from scheduler.model.manifests.containers import field_names
from scheduler.model.manifests.recorded import without_secret_data
from scheduler.model.manifests.texts import has_long_number, names_in, text_of

WORDS = st.sampled_from(
    (
        "kind",
        "Kind",
        "Secret",
        "secret",
        "Se-cret",
        "Se\u200bcret",
        "\uff33\uff45\uff43\uff52\uff45\uff54",
        "\u5bc6Secret",
        "data",
        "stringData",
        "annotations",
        "labels",
        "metadata",
        "kapok.dev/order",
        "\u212aapok.dev/order",
        "hostPath",
        'kind: "Secret"\ndata: {}',
        '{"kind":"Secret","data":{}}',
        "\\u0053ecret",
        'a":',
        "status",
        "uid",
        "template",
    )
)
TEXTS = WORDS | st.text(max_size=6)
SCALARS = TEXTS | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=4)
        | st.fixed_dictionaries({"kind": WORDS, "data": inner})
    ),
    max_leaves=12,
)
MANIFESTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def walked_names(value: Any) -> set[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return set(value).union(*map(walked_names, value.values()))
    return set().union(*map(walked_names, value)) if isinstance(value, list) else set()


@given(MANIFESTS)
@example({'a":': 1, "b": 'x":'})
@example({"text": 'say "name": now', "other": "\\"})
def test_the_names_in_a_text_are_those_of_all_fields(manifest: dict[str, Any]) -> None:
    assert field_names(manifest) == walked_names(manifest)
    text = text_of(manifest)
    assert text is not None
    assert names_in(text) in (None, walked_names(manifest))


@given(MANIFESTS)
@example({"kind": "Secret", "data": {"a": "b"}})
@example({"spec": {"kind": "S.e.c.r.e.t", "data": {"a": "b"}}})
@example({"metadata": {"annotations": {"copy": 'kind: "\\u0053ecret"\ndata: {}'}}})
def test_no_secret_is_overlooked(manifest: dict[str, Any]) -> None:
    plain = {"inside": manifest}
    walked = {**plain, "escaped": "\\"}  # what has an escape is walked through
    assert secrets.may_name_secret(walked)
    assert secrets.carries_secret_data(plain) == secrets.carries_secret_data(walked)
    assert without_secret_data(plain)["inside"] == without_secret_data(walked)["inside"]


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH, MAX_DEPTH + 1])
@pytest.mark.parametrize("is_wide", [False, True])
def test_depth_is_refused_as_by_walking(depth: int, *, is_wide: bool) -> None:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value, **({f"n{n}": [n] for n in range(3)} if is_wide else {})}
    if depth > MAX_DEPTH:
        with pytest.raises(BadManifest, match="deeper"):
            checks.check_depth(value, "m")
    else:
        checks.check_depth(value, "m")


@pytest.mark.parametrize("length", [checks.MAX_KEY_LENGTH, checks.MAX_KEY_LENGTH + 1])
def test_a_long_key_is_refused_wherever_it_is(length: int) -> None:
    value = {"a": "x" * 3000, "b": [{"k" * length: 1}]}
    if length > checks.MAX_KEY_LENGTH:
        with pytest.raises(BadManifest, match="key"):
            checks.check_depth(value, "m")
    else:
        checks.check_depth(value, "m")


@given(st.integers(-(2**63), 2**64 - 1))
@example(checks.MAX_INTEGER)
@example(checks.MAX_INTEGER + 1)
@example(-checks.MAX_INTEGER - 1)
def test_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    is_good = -checks.MAX_INTEGER <= number <= checks.MAX_INTEGER
    assert is_good or has_long_number(msgspec.json.encode(number))
    if is_good:
        checks.check_values([{"a": [number]}])
    else:
        with pytest.raises(BadManifest, match="64 bits"):
            checks.check_values([{"a": [number]}])


@given(MANIFESTS)
def test_what_has_no_name_of_a_cluster_is_not_changed(manifest: dict[str, Any]) -> None:
    inside = {"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": manifest}
    cleaned, removed = clean_manifests([inside])
    if not field_names(inside) & {"annotations", "status", "uid"}:
        assert (cleaned, removed) == ((inside,), ())
