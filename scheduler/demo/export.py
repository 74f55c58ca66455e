"""Writes everything as files, so that a checker without Kapok's code can verify the demo's claims.

hub.yaml           all objects of the hub
members/SITE.yaml  all objects of a member cluster
reports/SITE.json  a full report of the site's agent, as it sends it
decisions/ID.json  the ledger record of each decision, with its hash and the facts of the fleet
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from scheduler.control.ports.hub import KAPOK_RESOURCES, ApiResource, Hub, NotFound, Object
from scheduler.demo.environment import agent_argv
from scheduler.demo.folder import DemoFolder
from scheduler.hub.client import open_hub
from scheduler.hub.schema.yaml_writer import TextDumper
from scheduler.ledger.fleet import read_fleet
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.kinds.overrides import Override
from scheduler.model.manifests.cleaning import LAST_APPLIED_ANNOTATIONS
from scheduler.model.manifests.recorded import recorded_manifests
from scheduler.model.overrides.recorded import recorded_overrides
from scheduler.runtime.data_dir import ignore_in_git


def _core_resource(plural: str, kind: str, *, namespaced: bool = True) -> ApiResource:
    return ApiResource("", "v1", plural, kind, namespaced)


_SHARED_KINDS = (
    _core_resource("namespaces", "Namespace", namespaced=False),
    _core_resource("configmaps", "ConfigMap"),
    _core_resource("events", "Event"),
    ApiResource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True),
)
HUB_KINDS = (*KAPOK_RESOURCES, *_SHARED_KINDS)
MEMBER_KINDS = (
    *_SHARED_KINDS,
    _core_resource("nodes", "Node", namespaced=False),
    _core_resource("pods", "Pod"),
    _core_resource("services", "Service"),
    _core_resource("serviceaccounts", "ServiceAccount"),
    _core_resource("persistentvolumeclaims", "PersistentVolumeClaim"),
    ApiResource("apps", "v1", "deployments", "Deployment", namespaced=True),
    ApiResource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True),
    ApiResource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True),
    ApiResource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True),
    ApiResource("batch", "v1", "jobs", "Job", namespaced=True),
    ApiResource("batch", "v1", "cronjobs", "CronJob", namespaced=True),
)


async def list_objects(hub: Hub, kinds: Iterable[ApiResource]) -> list[Object]:
    """Every object of these kinds, each with its apiVersion and kind."""
    found: list[Object] = []
    for resource in kinds:
        try:
            items = (await hub.list(resource)).items
        except NotFound:
            continue  # this server does not serve the kind
        # Items of a list response carry neither apiVersion nor kind.
        type_meta = {"apiVersion": resource.api_version, "kind": resource.kind}
        found += [type_meta | item for item in items]
    return found


async def list_member_objects(folder: DemoFolder, sites: Iterable[str]) -> dict[str, list[Object]]:
    """Every object of every member cluster, by site."""
    found: dict[str, list[Object]] = {}
    for site in sites:
        async with open_hub(folder.member_kubeconfig(site)) as member:
            found[site] = await list_objects(member, MEMBER_KINDS)
    return found


def without_secrets(item: Object) -> Object:
    """An object of the hub; a Workload without the data of Secrets that its author wrote inline.

    Such a workload is refused and stays in the hub until its author corrects it. Its annotation of
    `kubectl apply` repeats the data.
    """
    manifests = item.get("spec", {}).get("manifests")
    if item.get("kind") != "Workload" or not isinstance(manifests, list):
        return item
    written = tuple(each for each in manifests if isinstance(each, dict))
    metadata = dict(item["metadata"])
    notes = metadata.pop("annotations", None) or {}
    kept = {name: value for name, value in notes.items() if name not in LAST_APPLIED_ANNOTATIONS}
    metadata |= {"annotations": kept} if kept else {}
    spec = {**item["spec"], "manifests": list(recorded_manifests(written))}
    if "overrides" in spec:
        spec["overrides"] = _recorded_overrides(spec["overrides"], written)
    return {**item, "metadata": metadata, "spec": spec}


def _recorded_overrides(raw: object, manifests: tuple[Object, ...]) -> object:
    try:
        overrides = msgspec.convert(raw, tuple[Override, ...])
    except msgspec.ValidationError:
        return []  # the hub keeps no such object
    return msgspec.to_builtins(recorded_overrides(overrides, manifests))


async def write_export(
    target: Path, folder: DemoFolder, hub: Sequence[Object], members: dict[str, list[Object]]
) -> None:
    """Writes the export.

    Args:
        target: folder to write into; created if missing.
        folder: the demo's folder, for its agents and its ledger.
        hub: all objects of the hub.
        members: all objects of each member cluster, by site.

    Raises:
        OSError: a file cannot be written.
        LedgerError: the ledger cannot be read.
    """
    for name in ("members", "reports", "decisions"):
        (target / name).mkdir(parents=True, exist_ok=True)
    ignore_in_git(target)
    _write_yaml(target / "hub.yaml", [without_secrets(each) for each in hub])
    for site, objects in members.items():
        _write_yaml(target / "members" / f"{site}.yaml", objects)
    await _write_reports(target / "reports", folder, members)
    _write_decisions(target / "decisions", folder.hub / LEDGER_FILE)


async def _write_reports(target: Path, folder: DemoFolder, sites: Iterable[str]) -> None:
    """Runs `kapok-agent --print` for each site, two at a time."""
    two = asyncio.Semaphore(2)

    async def report(site: str) -> None:
        async with two:
            process = await asyncio.create_subprocess_exec(
                *agent_argv(folder, site), "--print", stdout=asyncio.subprocess.PIPE
            )
            report_json, _ = await process.communicate()
        (target / f"{site}.json").write_bytes(report_json)

    async with asyncio.TaskGroup() as group:
        for site in sites:
            group.create_task(report(site))


def _write_decisions(target: Path, ledger: Path) -> None:
    with LedgerReader(ledger) as reader:
        after = 0
        while page := reader.records(after, 200):
            for record in page:
                state = record.content.get("fleet")  # none in what is about no decision
                fleet = read_fleet(str(state), reader.blob) if state else {}
                _write_json(
                    target / f"{record.id}.json",
                    {"hash": record.hash, "record": record.fields, "fleet": fleet},
                )
            after = page[-1].seq


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_yaml(path: Path, objects: Sequence[Object]) -> None:
    text: Any = yaml.dump_all(
        objects,
        Dumper=TextDumper,
        sort_keys=False,
        allow_unicode=True,
    )
    path.write_text(text, encoding="utf-8")
