"""A name that a person types leads to the object of that name, or to nothing."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.ports.hub import SITES, WORKLOADS, NotFound

ROOT = "/apis/kapok.dev/v1alpha1"


@pytest.mark.parametrize(
    "name", ["m1/status", "../sites/m1", ".", "..", "m1%2Fstatus", "m1%3F", "/"]
)
def test_no_object_can_have_such_a_name(name: str) -> None:
    with pytest.raises(NotFound, match="invalid name"):
        SITES.path(None, name)
    with pytest.raises(NotFound, match="invalid name"):
        WORKLOADS.path(name, "web")


def test_bytes_that_are_no_text_are_no_name() -> None:
    with pytest.raises(NotFound, match="no text"):
        SITES.path(None, "\udcff")


def test_plain_names_stay_as_they_are() -> None:
    assert SITES.path(None, "gz-core.a") == f"{ROOT}/sites/gz-core.a"
    assert WORKLOADS.path("health", "web") == f"{ROOT}/namespaces/health/workloads/web"
    assert WORKLOADS.path(None) == f"{ROOT}/workloads"


@given(st.text(min_size=1, max_size=40))
def test_whatever_is_typed_is_one_segment_and_that_name(name: str) -> None:
    try:
        parts = urlsplit(f"http://hub{SITES.path(None, name)}")
    except NotFound:
        assert name in (".", "..") or "/" in name or "%" in name
        return
    assert (parts.query, parts.fragment) == ("", "")
    assert unquote(parts.path.removeprefix(f"{ROOT}/sites/")) == name
