"""Clients on an unreliable network: the recovery that the API's guarantees allow."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import Client
from tests.support.api_proxy import Proxy, api_proxy


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[Proxy]:
    with api_proxy(server.client, tmp_path) as running:
        yield running


@pytest.fixture
def through(proxy: Proxy) -> Client:
    return Client.of(proxy.kubeconfig)


def test_requests_go_through(server: Server, proxy: Proxy, through: Client) -> None:
    made = through.create(server.widgets(), server.widget()).ok()
    assert through.get(server.widgets(made["metadata"]["name"])).ok() == made
    assert proxy.faults.seen[0] == f"POST {server.widgets()}"


def test_a_cut_watch_is_resumed_without_a_gap(
    server: Server, client: Client, proxy: Proxy, through: Client
) -> None:
    made = client.create(server.widgets(), server.widget(size="large", replicas=0)).ok()
    name = made["metadata"]["name"]
    for count in range(1, 6):
        client.patch(server.widgets(name), {"spec": {"replicas": count}}).ok()
    proxy.faults.cut_watches_after_events = 2
    version, seen = made["metadata"]["resourceVersion"], []
    for _attempt in range(6):
        try:
            with through.watch(
                server.widgets(),
                resourceVersion=version,
                fieldSelector=f"metadata.name={name}",
            ) as events:
                for event in events:
                    seen.append(event["object"]["spec"]["replicas"])
                    version = event["object"]["metadata"]["resourceVersion"]
                    if len(seen) == 5:
                        break
        except ValueError:
            continue  # the line that was cut in the middle
        if len(seen) == 5:
            break
    assert seen == [1, 2, 3, 4, 5]


def test_watches_can_be_cut_at_any_moment(
    server: Server, client: Client, proxy: Proxy, through: Client
) -> None:
    version = client.get(server.widgets(), limit=1).ok()["metadata"]["resourceVersion"]
    with through.watch(server.widgets(), resourceVersion=version) as events:
        client.create(server.widgets(), server.widget()).ok()
        assert next(events)["type"] == "ADDED"
        proxy.cut_watches()
        assert list(events) == []


def test_429_says_when_to_try_again(server: Server, proxy: Proxy, through: Client) -> None:
    proxy.faults.too_many = 1
    refused = through.get(server.widgets())
    assert (refused.code, refused.reason) == (429, "TooManyRequests")
    assert refused.headers["Retry-After"] == "1"
    assert through.get(server.widgets()).code == 200


def test_410_sends_the_client_back_to_a_list(server: Server, proxy: Proxy, through: Client) -> None:
    proxy.faults.expired_watches = 1
    answer = through.get(server.widgets(), watch="true", resourceVersion=1)
    assert (answer.code, answer.reason) == (410, "Expired")
    assert through.get(server.widgets()).code == 200


def test_requests_succeed_again_after_an_outage(
    server: Server, proxy: Proxy, through: Client
) -> None:
    proxy.faults.gone = True
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        through.get(server.widgets())
    proxy.faults.gone = False
    assert through.get(server.widgets()).code == 200


def test_a_slow_answer_is_still_an_answer(server: Server, proxy: Proxy, through: Client) -> None:
    proxy.faults.delay_seconds = 0.3
    assert through.get(server.widgets()).code == 200
