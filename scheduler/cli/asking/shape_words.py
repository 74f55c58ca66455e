"""The shape that `kapok capacity` asks about: amounts on the command line, or a file with a pod."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from scheduler.cli.support.arguments import parse_platform
from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.kinds import API_GROUP, Workload
from scheduler.model.quantities import CPU, GPU, MEMORY, NotAQuantity, refuse_shares, requests_of
from scheduler.whatif.scenario.changes import ScenarioError
from scheduler.whatif.shape import DEFAULT_CLASS, AskedShape


def add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say what is asked for."""
    parser.add_argument("--cpu", metavar="CORES", help="of one replica, such as 8 or 500m")
    parser.add_argument("--memory", metavar="AMOUNT", help="such as 16Gi")
    parser.add_argument("--gpu", metavar="CARDS", help=f"whole cards ({GPU})")
    parser.add_argument(
        "--request",
        action="append",
        default=[],
        metavar="NAME=AMOUNT",
        help="another resource, such as huawei.com/Ascend910=1; may be repeated",
    )
    parser.add_argument(
        "--class",
        dest="data_class",
        metavar="CLASS",
        help=f"data class (default: that of the Workload in -f, else {DEFAULT_CLASS})",
    )
    parser.add_argument(
        "-n",
        "--namespace",
        default="",
        metavar="NS",
        help="judge it by the tenant of this namespace (default: by no tenant)",
    )
    parser.add_argument(
        "--platform",
        action="append",
        type=parse_platform,
        default=[],
        metavar="OS/ARCH",
        help="of its images (default: linux/amd64); may be repeated",
    )


def sort_files(names: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The manifests of a shape, and the files that hold the fleet: folders, stdin, and any Site.

    Raises:
        ScenarioError: a file cannot be read.
    """
    manifests: list[dict[str, Any]] = []
    fleet: list[str] = []
    for name in names:
        if name == "-" or Path(name).is_dir():
            fleet.append(name)
            continue
        try:
            objects = list(read_objects([name]))
        except ManifestFileError as error:
            raise ScenarioError(str(error)) from error
        if not objects:
            raise ScenarioError(
                f"{name}: the file holds no object: it is empty, or all of it is comments"
            )
        if any(one["kind"] == "Site" for one in objects):
            fleet.append(name)
        else:
            manifests += objects
    return manifests, fleet


def shape_of(arguments: argparse.Namespace, manifests: Sequence[dict[str, Any]]) -> AskedShape:
    """The shape that the arguments and a file describe.

    Raises:
        ScenarioError: they contradict, or cannot be read.
    """
    requests = _requests(arguments)
    if requests and manifests:
        raise ScenarioError("write either amounts such as --cpu, or -f with a pod, not both")
    raw: dict[str, Any] = {
        "requests": requests,
        "manifests": list(manifests),
        "dataClass": arguments.data_class or DEFAULT_CLASS,
        "namespace": arguments.namespace,
        "platforms": arguments.platform,
    }
    if len(manifests) == 1 and str(manifests[0]["apiVersion"]).startswith(f"{API_GROUP}/"):
        raw |= _of_workload(manifests[0], arguments)
    try:
        requests_of(raw["requests"])
        refuse_shares(raw["requests"])
        return msgspec.convert(raw, AskedShape)
    except (msgspec.ValidationError, NotAQuantity) as error:
        raise ScenarioError(str(error)) from error


def _requests(arguments: argparse.Namespace) -> dict[str, str]:
    options = {CPU: "--cpu", MEMORY: "--memory", GPU: "--gpu"}
    written = {CPU: arguments.cpu, MEMORY: arguments.memory, GPU: arguments.gpu}
    found: dict[str, str] = {name: text for name, text in written.items() if text is not None}
    for word in arguments.request:
        name, equals, amount = word.partition("=")
        if not name or not equals or not amount:
            raise ScenarioError(f"--request {word}: write NAME=AMOUNT")
        if found.get(name, amount) != amount:
            first = options[name] if written.get(name) is not None else f"--request {name}="
            raise ScenarioError(
                f"--request {word}: {first}{' ' * (first[-1] != '=')}{found[name]} says another "
                "amount; keep one"
            )
        found[name] = amount
    return found


def _of_workload(raw: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """What the spec of a Workload says of its shape."""
    try:
        spec = decode_as(raw, Workload).spec
    except NotReadable as error:
        raise ScenarioError(str(error)) from error
    found: dict[str, Any] = {"manifests": list(spec.manifests)}
    if spec.demand is not None:
        found["requests"] = spec.demand.requests
        found["nodeSelector"] = spec.demand.node_selector
    if spec.data_class and not arguments.data_class:
        found["dataClass"] = spec.data_class
    if spec.image_platforms and not arguments.platform:
        found["platforms"] = list(spec.image_platforms)
    return found
