"""Checks an exported demo from its files alone; on purpose it shares no code with the project.

It follows the documents: the meaning of data classes, protection levels, network zones and
jurisdictions, the capacity of nodes, and the effect of orders in a member cluster.
"""

import datetime as dt
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CLASSES = ["general-1", "general-2", "general-3", "general-4", "important", "core"]
UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def amount(text: object) -> float:
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)", str(text))
    assert match is not None, text
    return float(match[1]) * UNITS[match[2]]


class Export:
    """The files of `kapok demo --export`."""

    def __init__(self, folder: Path) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        read = {
            path.stem: list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader))
            for path in [folder / "hub.yaml", *(folder / "members").glob("*.yaml")]
        }
        self.hub: list[dict[str, Any]] = read.pop("hub")
        self.members: dict[str, list[dict[str, Any]]] = read
        self.reports = {
            path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in (folder / "reports").glob("*.json")
        }
        self.decisions = {
            path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in (folder / "decisions").glob("*.json")
        }

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self.hub if item["kind"] == kind]

    @property
    def placed(self) -> Iterator[tuple[dict[str, Any], str, int]]:
        """Workload, site and replicas of every placement."""
        for workload in self.of("Workload"):
            for group in workload.get("status", {}).get("placement", {}).get("groups", []):
                for site in group["sites"]:
                    yield workload, site, group["replicas"]


def name_of(workload: dict[str, Any]) -> str:
    return f"{workload['metadata']['namespace']}/{workload['metadata']['name']}"


def broken_rules(export: Export) -> list[str]:
    return [
        *_broken_rights(export),
        *_overcommitted_nodes(export),
        *_wrong_architectures(export),
        *_exceeded_latencies(export),
    ]


def _broken_rights(export: Export) -> Iterator[str]:
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - a checker has no clock port
    rules = {
        rule["name"]: rule
        for scheme in export.of("DataClassScheme")
        for rule in scheme["spec"]["classes"]
    }
    homes = {
        namespace: tenant["spec"]["jurisdiction"]
        for tenant in export.of("Tenant")
        for namespace in tenant["spec"]["namespaces"]
    }
    sites = {site["metadata"]["name"]: site["spec"] for site in export.of("Site")}
    for workload, site, _ in export.placed:
        spec, where = workload["spec"], f"{name_of(workload)} on {site}"
        rule = rules.get(spec.get("dataClass"), {})
        grants = [g["spec"] for g in export.of("SiteGrant") if site in g["spec"]["sites"]]
        if not any(_allows(grant, spec, rule, name_of(workload), now) for grant in grants):
            yield f"{where}: no grant allows it"
        home = homes[workload["metadata"]["namespace"]]
        if rule.get("sameProvince") and sites[site]["location"]["province"] != home:
            yield f"{where}: the data left its province"


def _allows(
    grant: dict[str, Any], spec: dict[str, Any], rule: dict[str, Any], name: str, now: dt.datetime
) -> bool:
    level = max(spec.get("protectionLevel", 1), rule.get("protectionLevel", 1))
    place = grant["jurisdiction"]
    lawful = all(
        not wanted or place in wanted or ("CN" in wanted and place.startswith("CN-"))
        for wanted in (spec.get("jurisdictions"), rule.get("jurisdictions"))
    )
    return (
        spec.get("dataClass") in CLASSES
        and CLASSES.index(spec["dataClass"]) <= CLASSES.index(grant["dataClass"])
        and level <= grant["protectionLevel"]
        and (level < 4 or grant.get("dedicatedPool", False))
        and set(spec.get("networkZones", [])) <= set(grant.get("networkZones", []))
        and lawful
        and (not rule.get("allowListOnly") or name in grant.get("allowList", []))
        and dt.datetime.fromisoformat(grant["validFrom"]) <= now
        and now < dt.datetime.fromisoformat(grant["validUntil"])
    )


def _pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] == "Pod" and item["status"].get("phase") not in ("Succeeded", "Failed"):
            yield item


def _overcommitted_nodes(export: Export) -> Iterator[str]:
    for site, objects in export.members.items():
        used: dict[tuple[str, str], float] = defaultdict(float)
        for pod in _pods(objects):
            node = pod["spec"].get("nodeName", "")
            used[node, "pods"] += 1
            for container in pod["spec"]["containers"]:
                for resource, value in container["resources"]["requests"].items():
                    used[node, resource] += amount(value)
        rooms = {o["metadata"]["name"]: o["status"] for o in objects if o["kind"] == "Node"}
        for (node, resource), value in used.items():
            if value > amount(rooms[node]["allocatable"].get(resource, 0)) + 1e-6:
                yield f"{site}: node {node} holds {value} of {resource}"


def _wrong_architectures(export: Export) -> Iterator[str]:
    platforms = {
        w["metadata"]["namespace"] + "/" + w["metadata"]["name"]: w["spec"].get(
            "imagePlatforms", ["linux/amd64"]
        )
        for w in export.of("Workload")
    }
    for site, objects in export.members.items():
        nodes = {
            o["metadata"]["name"]: o["metadata"]["labels"]["kubernetes.io/arch"]
            for o in objects
            if o["kind"] == "Node"
        }
        for pod in _pods(objects):
            app = pod["metadata"].get("labels", {}).get("app", "")
            wanted = platforms.get(f"{pod['metadata']['namespace']}/{app}", [])
            if wanted and f"linux/{nodes[pod['spec']['nodeName']]}" not in wanted:
                yield f"{site}: {app} runs on {nodes[pod['spec']['nodeName']]}"


def _exceeded_latencies(export: Export) -> Iterator[str]:
    for workload, site, _ in export.placed:
        for bound in workload["spec"].get("placement", {}).get("latency", []):
            trips = {one["to"]: one["milliseconds"] for one in export.reports[site].get("rtt", [])}
            trips[site] = 0.0
            if trips.get(bound["from"], float("inf")) > bound["withinMilliseconds"]:
                yield f"{name_of(workload)} on {site}: too far from {bound['from']}"


def orders_not_applied(export: Export) -> list[str]:
    """Objects that are missing in a member cluster, and objects that should not be there."""
    found: list[str] = []
    wanted: dict[tuple[str, str], int] = {}
    for workload, site, replicas in export.placed:
        wanted[site, name_of(workload)] = replicas
        there = {
            (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o
            for o in export.members[site]
        }
        for manifest in workload["spec"].get("manifests", []):
            key = (
                manifest["kind"],
                workload["metadata"]["namespace"],
                manifest["metadata"]["name"],
            )
            if key not in there:
                found.append(f"{site}: {key} was not applied")
            elif manifest["kind"] in ("Deployment", "StatefulSet"):
                has = there[key]["spec"]["replicas"]
                if has != replicas:
                    found.append(f"{site}: {key} has {has} replicas and not {replicas}")
    for site, objects in export.members.items():
        for item in objects:
            order = item["metadata"].get("annotations", {}).get("kapok.dev/order-id")
            if order and (site, "/".join(order.split("/")[1:3])) not in wanted:
                found.append(f"{site}: {order} is applied and was not ordered")
    return found


def decisions_that_do_not_match(export: Export) -> list[str]:
    """Records whose hash does not match their content, and statuses that name another hash."""
    found = []
    for name, decision in export.decisions.items():
        text = json.dumps(
            decision["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        if "sha256:" + hashlib.sha256(text.encode()).hexdigest() != decision["hash"]:
            found.append(f"{name}: its hash is another one")
    for workload in export.of("Workload"):
        reference = workload["status"]["decision"]
        if export.decisions[reference["id"]]["hash"] != reference["hash"]:
            found.append(f"{name_of(workload)}: its decision has another hash")
    return found


def what_a_loss_must_concern(export: Export, site: str) -> set[str]:
    """The workloads that run at a site, so that its loss moves them or leaves them over."""
    return {
        f"{workload['metadata']['namespace']}/{workload['metadata']['name']}"
        for workload, place, replicas in export.placed
        if place == site and replicas and workload["status"].get("phase") != "Completed"
    }
