"""What the embedded hub does not do, it refuses by name; a real server does these things."""

import pytest

from scheduler.apiserver.kinds.not_served import NOT_SERVED_RESOURCES, NOT_SERVED_SUBRESOURCES
from tests.contract.conftest import Server
from tests.support.api_client import Client


@pytest.mark.parametrize(("group", "plural"), NOT_SERVED_RESOURCES)
def test_a_resource_of_other_servers_is_refused_by_name(
    client: Client, group: str, plural: str
) -> None:
    path = f"/apis/{group}/v1/{plural}"
    for answer in (client.create(path, {"metadata": {"name": "x"}}), client.get(path)):
        assert (answer.code, answer.reason) == (404, "NotFound")
        assert answer.json["message"] == NOT_SERVED_RESOURCES[group, plural]


@pytest.mark.parametrize(("plural", "subresource"), NOT_SERVED_SUBRESOURCES)
def test_a_subresource_of_other_servers_is_refused_by_name(
    server: Server, client: Client, plural: str, subresource: str
) -> None:
    scope = "" if plural == "nodes" else f"namespaces/{server.namespace}/"
    answer = client.get(f"/api/v1/{scope}{plural}/x/{subresource}")
    assert (answer.code, answer.reason) == (501, "NotImplemented")
    assert answer.json["message"] == NOT_SERVED_SUBRESOURCES[plural, subresource]
