"""`kapok apply -f FILE`: server-side apply of manifests to the hub."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE, add_output_option
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from scheduler.cli.support.output import format_table, print_error, print_json, said_error
from scheduler.control.ports.hub import ApiResource, HubError, Object
from scheduler.hub.client import HubClient, open_hub

FIELD_MANAGER = "kapok-apply"

_EPILOG = """examples:
  kapok apply -f site.yaml -f workload.yaml
  kapok apply -f - < workload.yaml
  kapok apply -f manifests/samples            every .yaml, .yml and .json file of a folder

Works like `kubectl apply --server-side --force-conflicts`. When the hub refuses an object, the
others are applied all the same.
Exit code: 0 all objects are applied, 1 the hub refused some, 2 wrong usage or unreadable files."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok apply`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="a YAML or JSON file, a folder of them, or - for stdin; may be repeated",
    )
    add_output_option(parser)
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Applies all objects and prints the result of each."""
    try:
        objects = list(read_objects(arguments.filename))
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (ManifestFileError, HubNotFound) as error:
        print_error("apply", error)
        return EXIT_USAGE
    try:
        rows = asyncio.run(_apply_all(kubeconfig, objects))
    except HubError as error:
        print_error("apply", error)
        return EXIT_NO
    if arguments.output == "json":
        print_json({"objects": rows})
    else:
        sys.stdout.writelines(_format_rows(rows))
    return EXIT_NO if any(row["error"] for row in rows) else EXIT_GOOD


async def _apply_all(kubeconfig: Path, objects: list[Object]) -> list[dict[str, Any]]:
    async with open_hub(kubeconfig) as client:
        mapper = RestMapper(client)
        return [await _apply(client, mapper, body) for body in objects]


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
    """Finds the REST resource of a kind by API discovery, one request per group and version."""

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self._resources_by_root: dict[str, list[dict[str, Any]]] = {}

    async def resource_of(self, body: Object) -> ApiResource:
        """The resource of an object.

        Raises:
            HubError: the hub does not serve this kind.
        """
        api_version, kind = str(body["apiVersion"]), str(body["kind"])
        group, _, version = api_version.rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if root not in self._resources_by_root:
            self._resources_by_root[root] = (await self._client.raw("GET", root)).get(
                "resources"
            ) or []
        for one in self._resources_by_root[root]:
            if one["kind"] == kind and "/" not in one["name"]:  # "pods/status" is a subresource
                return ApiResource(group, version, one["name"], kind, bool(one["namespaced"]))
        raise HubError(f"{api_version} {kind}: the hub does not serve this kind")


def _format_rows(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        (row["object"], said_error(row["error"]) if row["error"] else row["result"]) for row in rows
    ]
    return format_table(cells, gap="  ") if cells else []
