"""Thousands of placed workloads, written into the store of a stopped hub.

A scheduler decides one workload and its site runs it. The others are copies of it under other names
and at other sites, with what follows from these: what was accepted, the digest of the order, the
selector of the pods. The sites are told that they run these orders already.
"""

import json
import sqlite3
import uuid
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agents.protocol.keys import SigningKey
from benchmarks._load_sites import HeldOrder
from scheduler.control.orders.build import orders_of
from scheduler.control.orders.identity import format_order_id, parse_order_id, pod_selector
from scheduler.control.ports.hub import WORKLOADS, Object
from scheduler.control.status.workload import shares_of
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decode import decode_as
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox

TEMPLATE = "template-of-the-others"
"""The name of the workload that is copied; no other text of it may contain this."""

_COLLECTION = f"{WORKLOADS.group}/{WORKLOADS.plural}"
_COMPRESSION_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Copier:
    """Makes copies of a workload that runs at one site.

    Attributes:
        template: it, as the hub has it.
        order_id: the id of its order.
        tenant: of its namespace.
        sites: names of all sites, which the copies are spread over.
    """

    template: Object
    order_id: str
    tenant: Object
    sites: Sequence[str]

    def copies(self, names: Sequence[str]) -> Iterator[tuple[Object, str, HeldOrder]]:
        """Each copy, its site, and the order that the site holds of it."""
        publisher = OrderPublisher(key=SigningKey.generate(), outbox=Outbox())
        tenant = decode_as(self.tenant, Tenant, allow_unknown=True)
        identity = parse_order_id(self.order_id)
        if identity is None:
            raise ValueError(f"{self.order_id}: no order id")
        text, accepted = json.dumps(self.template), self._accepted_text()
        [template_site] = self.template["status"]["placement"]["orders"]
        for number, name in enumerate(names):
            site = self.sites[number % len(self.sites)]
            body: Object = json.loads(text.replace(TEMPLATE, name).replace(template_site, site))
            body["metadata"]["uid"] = str(uuid.uuid4())
            key = (body["metadata"]["namespace"], name)
            order_id = format_order_id(identity.hub_id, key, identity.incarnation)
            plain = accepted.replace(TEMPLATE, name).encode()
            status = body["status"]
            status["selector"] = pod_selector(order_id)
            status["accepted"] |= {
                "digest": digest_of_bytes(plain),
                "content": b64encode(zlib.compress(plain, _COMPRESSION_LEVEL)).decode(),
            }
            workload = decode_as(body, Workload, allow_unknown=True)
            shares = shares_of(workload.status)
            order = orders_of(workload, order_id, shares, tenant, {})[site]
            digest = publisher.digest_of(site, order)
            status["placement"]["orders"] = {site: digest}
            held = HeldOrder(
                id=order_id,
                generation=order.generation,
                digest=digest.partition("/")[0],
                replicas=status.get("ready", 0),  # what the site said before it was copied
            )
            publisher.withdraw_content(site, order_id)
            yield body, site, held

    def _accepted_text(self) -> str:
        packed = b64decode(self.template["status"]["accepted"]["content"])
        return zlib.decompress(packed).decode()


def write_objects(database: Path, bodies: Sequence[Object]) -> None:
    """Writes new workloads into the database of a hub that does not run."""
    with closing(sqlite3.connect(database)) as connection, connection:
        [(text,)] = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchall()
        revision, rows = int(text), []
        for body in bodies:
            revision += 1
            body["metadata"]["resourceVersion"] = str(revision)
            key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            rows.append((_COLLECTION, key, revision, json.dumps(body).encode()))
        connection.executemany("INSERT INTO objects VALUES (?, ?, ?, ?)", rows)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (str(revision),))
