"""Watches: events, selectors, resuming, bookmarks, streaming lists."""

import json
from typing import Any

from tests.contract.conftest import Server
from tests.support.api_client import Client


def _brief(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def _version(client: Client, path: str) -> str:
    version: str = client.get(path, limit=1).ok()["metadata"]["resourceVersion"]
    return version


def test_a_watch_shows_what_happens_in_order(server: Server, client: Client) -> None:
    version = _version(client, server.widgets())
    with client.watch(server.widgets(), resourceVersion=version) as events:
        name = client.create(server.widgets(), server.widget()).ok()["metadata"]["name"]
        client.patch(server.widgets(name), {"spec": {"size": "large"}}).ok()
        deleted = client.delete(server.widgets(name))
        assert deleted.code == 200
        found = [next(events) for _ in range(3)]
    assert [_brief(event) for event in found] == [
        ("ADDED", name),
        ("MODIFIED", name),
        ("DELETED", name),
    ]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert versions == sorted(set(versions))


def test_a_watch_without_a_version_starts_with_what_is_there(
    server: Server, client: Client
) -> None:
    name = client.create(server.widgets(), server.widget()).ok()["metadata"]["name"]
    with client.watch(server.widgets(), fieldSelector=f"metadata.name={name}") as events:
        assert _brief(next(events)) == ("ADDED", name)


def test_a_watch_can_be_resumed(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    name = made["metadata"]["name"]
    client.patch(server.widgets(name), {"spec": {"size": "medium"}}).ok()
    with client.watch(
        server.widgets(),
        resourceVersion=made["metadata"]["resourceVersion"],
        fieldSelector=f"metadata.name={name}",
    ) as events:
        event = next(events)
    assert (event["type"], event["object"]["spec"]["size"]) == ("MODIFIED", "medium")


def test_leaving_a_selection_is_a_deletion(server: Server, client: Client) -> None:
    item = server.widget()
    item["metadata"]["labels"] = {"seen": "yes"}  # type: ignore[index]
    version = _version(client, server.widgets())
    with client.watch(
        server.widgets(), resourceVersion=version, labelSelector="seen=yes"
    ) as events:
        name = client.create(server.widgets(), item).ok()["metadata"]["name"]
        client.patch(server.widgets(name), {"metadata": {"labels": {"seen": "no"}}}).ok()
        client.patch(server.widgets(name), {"metadata": {"labels": {"seen": "yes"}}}).ok()
        found = [next(events) for _ in range(3)]
    assert [event["type"] for event in found] == ["ADDED", "DELETED", "ADDED"]


def test_a_watch_ends_after_its_time(server: Server, client: Client) -> None:
    version = _version(client, server.widgets())
    with client.watch(
        server.widgets(), seconds=60, resourceVersion=version, timeoutSeconds=1
    ) as events:
        assert len(list(events)) < 100


def test_a_version_from_the_distant_past_is_gone(server: Server, client: Client) -> None:
    """A server responds with 410, sends an ERROR event, or still has that version."""
    answer = client.get(
        server.core("configmaps"), watch="true", resourceVersion="1", timeoutSeconds="1"
    )
    if answer.code == 200 and answer.raw.strip():
        first = json.loads(answer.raw.splitlines()[0])
        assert first["type"] != "ERROR" or first["object"]["code"] == 410
    else:
        assert answer.code in {200, 410}


def test_a_list_can_be_streamed(server: Server, client: Client) -> None:
    names = {
        client.create(server.widgets(), server.widget()).ok()["metadata"]["name"] for _ in range(3)
    }
    seen = set()
    with client.watch(
        server.widgets(),
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    ) as events:
        for event in events:
            if event["type"] == "BOOKMARK":
                metadata = event["object"]["metadata"]
                assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
                assert metadata["resourceVersion"].isdigit()
                break
            seen.add(event["object"]["metadata"]["name"])
    assert names <= seen


def test_send_initial_events_needs_a_match(server: Server, client: Client) -> None:
    answer = client.get(server.widgets(), watch="true", sendInitialEvents="true")
    assert (answer.code, answer.reason) == (422, "Invalid")


def test_a_watch_of_tables_sends_the_columns_once(server: Server, client: Client) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    version = _version(client, server.widgets())
    with client.watch(
        server.widgets(), headers={"Accept": accept}, resourceVersion=version
    ) as events:
        name = client.create(server.widgets(), server.widget()).ok()["metadata"]["name"]
        client.patch(server.widgets(name), {"spec": {"size": "large"}}).ok()
        first, second = next(events), next(events)
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"]
    assert not second["object"]["columnDefinitions"]
    assert second["object"]["rows"][0]["cells"][:2] == [name, "large"]


def test_a_watch_version_that_is_no_number_is_refused(server: Server, client: Client) -> None:
    answer = client.get(server.widgets(), watch="true", resourceVersion="abc")
    assert answer.code in {400, 500}  # kube-apiserver says 500 here, and 400 for lists
    assert "resourceVersion" in answer.json["message"]


def test_watching_a_single_path_just_reads_the_object(server: Server, client: Client) -> None:
    name = client.create(server.core("configmaps"), server.config_map()).ok()["metadata"]["name"]
    answer = client.get(server.core("configmaps", name), watch="true")
    assert answer.ok()["metadata"]["name"] == name
