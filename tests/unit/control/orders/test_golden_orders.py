"""Orders of statuses that an earlier version wrote stay byte-equal, so that no pod restarts."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from scheduler.control.orders.build import orders_of
from scheduler.control.orders.identity import format_order_id
from scheduler.control.status.accepted import is_present_spec_accepted
from scheduler.control.status.workload import shares_of
from scheduler.model.decode import decode_as
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload
from scheduler.mqtt.keyring import load_or_make_key
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.settings import Settings

GOLDEN = Path(__file__).parents[3] / "golden/step-8"


def golden_objects(folder: Path) -> list[dict[str, Any]]:
    path = folder / "objects.db"
    path.write_bytes(gzip.decompress((GOLDEN / "objects.db.gz").read_bytes()))
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(data) for (data,) in connection.execute("SELECT data FROM objects")]


def test_the_orders_of_an_earlier_version_have_the_digests_in_its_statuses(tmp_path: Path) -> None:
    objects = golden_objects(tmp_path)
    tenants = [decode_as(one, Tenant) for one in objects if one.get("kind") == "Tenant"]
    publisher = OrderPublisher(key=load_or_make_key(tmp_path / "hub.key"), outbox=Outbox())
    compared = 0
    for raw in objects:
        if raw.get("kind") != "Workload" or not raw["status"]["placement"].get("orders"):
            continue
        one = decode_as(raw, Workload)
        assert is_present_spec_accepted(one)
        namespace = one.metadata.namespace
        (tenant,) = [each for each in tenants if namespace in each.spec.namespaces]
        order_id = format_order_id(
            Settings().hub_id, (namespace, one.metadata.name), one.status.incarnation
        )
        orders = orders_of(one, order_id, shares_of(one.status), tenant, {})
        digests = {site: publisher.digest_of(site, order) for site, order in orders.items()}
        assert digests == one.status.placement.orders
        assert all(group.pin is None for group in one.status.placement.groups)
        compared += len(digests)
    assert compared > 20
