"""What a push process reads of the hub: few requests, and each member's problem by name."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agents.member.access import Access
from agents.member.api import MemberApi, MemberApiError, Tree, Unreachable
from agents.push.hub import HubReader, push_site_of
from agents.push.profile_accesses import ProfileAccesses
from tests.support.fake_clock import FakeClock
from tests.support.kubeconfigs import kubeconfig

SITES = "/apis/kapok.dev/v1alpha1/sites"
SECRET = "/api/v1/namespaces/members/secrets/m1"  # noqa: S105 - a path


def site(name: str, generation: int = 1, **delivery: Any) -> Tree:  # noqa: ANN401 - JSON
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": generation},
        "spec": {"delivery": delivery},
    }


def pushed(name: str, generation: int = 1) -> Tree:
    reference = {"namespace": "members", "name": name}
    return site(name, generation, mode="Push", kubeconfigSecretRef=reference)


def secret(version: int, data: Any, key: str = "kubeconfig") -> Tree:  # noqa: ANN401 - JSON
    text = base64.b64encode(json.dumps(data).encode()).decode()
    return {"metadata": {"resourceVersion": str(version)}, "data": {key: text}}


class FakeHubApi(MemberApi):
    """Answers from `objects`, by path; an error is raised."""

    def __init__(self, *sites: Tree) -> None:
        super().__init__(Access(host="127.0.0.1", port=9))
        self.objects: dict[str, Tree | MemberApiError] = {}
        self.put(*sites)
        self.asked: list[str] = []

    def put(self, *sites: Tree) -> None:
        """Adds or replaces Sites."""
        for one in sites:
            self.objects[f"{SITES}/{one['metadata']['name']}"] = one

    def find(self, path: str) -> Tree | None:
        self.asked.append(path)
        found = self.objects.get(path)
        if isinstance(found, MemberApiError):
            raise found
        return found

    def list_mapped(
        self,
        path: str,
        query: Mapping[str, str] | None,
        transform: Callable[[Tree], Any],
        *,
        accept: str = "",
    ) -> list[Any]:
        assert (path, query) == (SITES, None)
        assert "PartialObjectMetadataList" in accept
        trees = [one for key, one in self.objects.items() if key.startswith(SITES)]
        return [transform({"metadata": one["metadata"]}) for one in trees if isinstance(one, dict)]


def reader_of(api: FakeHubApi) -> HubReader:
    return HubReader(api, ProfileAccesses(api=api, providers=(), clock=FakeClock()))


def test_only_sites_that_changed_are_read_again() -> None:
    api = FakeHubApi(pushed("m1"), site("m2"), site("m3", mode="Pull"))
    reader = reader_of(api)
    assert set(reader.push_sites()) == {"m1"}
    assert len(api.asked) == 3
    assert set(reader.push_sites()) == {"m1"}
    assert len(api.asked) == 3
    api.put(pushed("m2", generation=2), site("m1", generation=2))
    assert set(reader.push_sites()) == {"m2"}
    assert len(api.asked) == 5


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": "../etc", "generation": 1}},
        {"metadata": {"name": "m1", "generation": "1"}},
        {"metadata": {"name": "m1", "generation": 1}, "spec": {"delivery": [1]}},
        {"metadata": {"name": "m1", "generation": 1, "deletionTimestamp": "now"}},
    ],
)
def test_a_strange_site_is_none_of_ours(tree: Tree) -> None:
    spec = {"delivery": {"mode": "Push"}}
    assert push_site_of({"spec": spec, **tree}) is None


def access_of(api: FakeHubApi, reader: HubReader) -> Access:
    api.put(pushed("m1"))
    return reader.access_of(reader.push_sites()["m1"])


@pytest.mark.parametrize("key", ["kubeconfig", "value"])
def test_the_access_is_the_same_object_until_the_secret_changes(key: str) -> None:
    api = FakeHubApi()
    reader = reader_of(api)
    api.objects[SECRET] = secret(1, kubeconfig(), key)
    first = access_of(api, reader)
    assert not first.problem
    assert access_of(api, reader) is first
    api.objects[SECRET] = secret(2, kubeconfig(user={"token": "next"}), key)
    assert access_of(api, reader).bearer_token() == "next"


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (None, "Secret members/m1: not found on the hub"),
        ({"metadata": {"resourceVersion": "1"}}, "it has no key kubeconfig or value"),
        ({"metadata": {}, "data": {"kubeconfig": 7}}, "it has no key kubeconfig or value"),
        ({"metadata": {}, "data": {"kubeconfig": "?"}}, "Secret members/m1: not"),
        (secret(1, "x" * 600_000), "more than"),
        (secret(1, kubeconfig(user={"exec": {"command": "id"}})), "user.exec runs a program"),
        (MemberApiError(403, "Forbidden", "no"), "the hub forbids the push process"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_problem_by_name(
    held: Tree | MemberApiError | None, words: str
) -> None:
    api = FakeHubApi()
    if held is not None:
        api.objects[SECRET] = held
    reader = reader_of(api)
    access = access_of(api, reader)
    assert words in access.problem
    assert access_of(api, reader) is access
    with pytest.raises(Unreachable, match=words):
        MemberApi(access).get("/version")


def test_a_site_without_a_secret_is_a_problem_by_name() -> None:
    api = FakeHubApi(site("m1", mode="Push", clusterProfileRef={"namespace": "a"}))
    reader = reader_of(api)
    access = reader.access_of(reader.push_sites()["m1"])
    assert "names neither kubeconfigSecretRef" in access.problem


def test_a_right_lost_at_the_hub_ends_no_access_and_a_deleted_secret_does() -> None:
    api = FakeHubApi()
    reader = reader_of(api)
    api.objects[SECRET] = secret(1, kubeconfig())
    first = access_of(api, reader)
    api.objects[SECRET] = MemberApiError(403, "Forbidden", "no")
    assert access_of(api, reader) is first
    api.objects[SECRET] = MemberApiError(500, "", "ill")
    with pytest.raises(MemberApiError):
        access_of(api, reader)
    del api.objects[SECRET]
    assert "not found" in access_of(api, reader).problem
