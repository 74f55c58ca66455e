"""`kapok apply -f FILE`: server-side apply of manifests to the hub."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scheduler.cli.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.manifest_files import ManifestFileError, read_objects
from scheduler.control.ports.hub import ApiResource, HubError, Object
from scheduler.hub.client import HubClient, open_hub

FIELD_MANAGER = "kapok-apply"
EXIT_NO, EXIT_USAGE = 1, 2

_EPILOG = """examples:
  kapok apply -f site.yaml -f workload.yaml
  kapok apply -f - < workload.yaml
  kapok apply -f manifests/samples            every .yaml file of a folder

Server-side apply as `kubectl apply --server-side --force-conflicts` does it. Exit code 1 when
the hub refuses any object; the others are applied."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok apply`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE", help="- is stdin"
    )
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Applies all objects and says what became of each."""
    try:
        objects = list(read_objects(arguments.filename))
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (ManifestFileError, HubNotFound) as error:
        sys.stderr.write(f"kapok apply: {error}\n")
        return EXIT_USAGE
    try:
        rows = asyncio.run(_apply_all(kubeconfig, objects))
    except HubError as error:
        sys.stderr.write(f"kapok apply: {error}\n")
        return EXIT_NO
    if arguments.output == "json":
        sys.stdout.write(json.dumps({"objects": rows}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(_format_rows(rows))
    return EXIT_NO if any(row["error"] for row in rows) else 0


async def _apply_all(kubeconfig: Path, objects: list[Object]) -> list[dict[str, Any]]:
    async with open_hub(kubeconfig) as client:
        kinds = RestMapper(client)
        return [await _apply(client, kinds, body) for body in objects]


async def _apply(client: HubClient, mapper: "RestMapper", body: Object) -> dict[str, Any]:
    name = f"{body['kind'].lower()}/{body['metadata']['name']}"
    try:
        resource = await mapper.resource_of(body)
        if resource.namespaced:
            body["metadata"].setdefault("namespace", "default")
        applied = await client.apply(resource, body, field_manager=FIELD_MANAGER)
    except HubError as error:
        return {"object": name, "result": "refused", "error": str(error)}
    created = applied["metadata"].get("generation", 1) == 1
    return {"object": name, "result": "created" if created else "applied", "error": None}


class RestMapper:
    """Which path serves a kind, asked of the hub once per group."""

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self._resources_by_root: dict[str, list[dict[str, Any]]] = {}

    async def resource_of(self, body: Object) -> ApiResource:
        """The resource of an object.

        Raises:
            HubError: the hub serves no such kind.
        """
        api_version, kind = str(body["apiVersion"]), str(body["kind"])
        group, _, version = api_version.rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if root not in self._resources_by_root:
            self._resources_by_root[root] = (await self._client.raw("GET", root)).get(
                "resources"
            ) or []
        for one in self._resources_by_root[root]:
            if one["kind"] == kind and "/" not in one["name"]:
                return ApiResource(group, version, one["name"], kind, bool(one["namespaced"]))
        raise HubError(f"{api_version} {kind}: the hub serves no such kind")


def _format_rows(rows: list[dict[str, Any]]) -> Iterator[str]:
    width = max((len(row["object"]) for row in rows), default=0)
    for row in rows:
        yield f"{row['object']:<{width}}  {row['error'] or row['result']}\n"
