"""`kapok wrap -f FILE|-k DIR`: makes a Workload of plain manifests and prints it."""

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE, parse_platform
from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from scheduler.cli.support.output import (
    format_object_as_yaml,
    print_error,
    print_json,
    print_notice,
    print_text,
)
from scheduler.cli.wrapping.hints import Hints, HintsDisagree, hints_of_nodes, take_hints
from scheduler.cli.wrapping.kustomization import read_kustomization
from scheduler.cli.wrapping.questions import ask_for_missing
from scheduler.model.decode import NotReadable, decode
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import API_GROUP, API_VERSION, DATA_CLASSES, Name, Namespace
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.checks import (
    BadManifest,
    check_manifests,
    check_values,
    identities_of,
    names_of_kind,
    title_of,
)
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.pod_kinds import check_is_counted, makes_pods

_DEFAULT_NAMESPACE = "default"
_MAX_LISTED = 12

_EPILOG = """examples:
  kapok wrap -f web.yaml                                 prints a Workload named as the Deployment
  kapok wrap -f web.yaml --name web --namespace shop --data-class general-2 | kapok apply -f -
  kubectl get deploy,svc -l app=web -o yaml | kapok wrap -f - --name web
  helm template web ./chart | kapok wrap -f - --name web --namespace shop
  kapok wrap -k overlays/production                      a kustomization, built by kubectl

All objects of the files become one Workload, in their order. What a cluster wrote into exported
objects (uid, status, cluster addresses) is left out, and named on stderr.
The annotations kapok.dev/data-class, protection-level, network-zones, jurisdictions and
image-platforms, on any of the objects, become fields of the spec; lists are separated by commas. On
a terminal it asks for what is missing; elsewhere it names it on stderr.
Exit code: 0 printed, 1 no workload may have such an object, 2 wrong usage or unreadable files."""


class CannotWrap(ValueError):
    """The objects do not make a Workload; the message says what to write."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok wrap`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        metavar="FILE",
        help="a YAML or JSON file, a folder of them, or - for stdin; may be repeated",
    )
    parser.add_argument(
        "-k", "--kustomize", metavar="DIR", help="a folder with a kustomization.yaml"
    )
    parser.add_argument(
        "--name", help="name of the Workload (default: that of the first object that makes pods)"
    )
    parser.add_argument(
        "-n",
        "--namespace",
        help="its namespace (default: the one that the objects name, else default)",
    )
    parser.add_argument(
        "--data-class",
        choices=DATA_CLASSES,
        help="class of its data, GB/T 43697 (default: left out; the scheme of the hub decides)",
    )
    parser.add_argument(
        "--platform",
        action="append",
        type=parse_platform,
        metavar="OS/ARCH",
        help="a platform of all its images, such as linux/arm64; may be repeated"
        " (default: linux/amd64 only)",
    )
    parser.add_argument(
        "-o", "--output", choices=["yaml", "json"], default="yaml", help="default: %(default)s"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the Workload."""
    if bool(arguments.filename) == bool(arguments.kustomize):
        print_error("wrap", "write -f FILE or -k DIR, one of them")
        return EXIT_USAGE
    try:
        objects = (
            read_kustomization(arguments.kustomize)
            if arguments.kustomize
            else list(read_objects(arguments.filename))
        )
    except ManifestFileError as error:
        print_error("wrap", error)
        return EXIT_USAGE
    try:
        workload, notices = wrap(
            objects,
            name=arguments.name,
            namespace=arguments.namespace,
            data_class=arguments.data_class,
            platforms=tuple(arguments.platform or ()),
        )
        notices += ask_for_missing(workload["spec"], reads_stdin="-" in (arguments.filename or ()))
        decode(workload)
    except (BadManifest, CannotWrap, HintsDisagree, NotReadable) as error:
        print_error("wrap", error)
        return EXIT_NO
    for each in notices:
        print_notice(f"kapok wrap: {each}")
    if arguments.output == "json":
        print_json(workload)
    else:
        print_text(format_object_as_yaml(workload).rstrip("\n"))
    return EXIT_GOOD


def wrap(
    objects: Sequence[dict[str, Any]],
    *,
    name: str | None = None,
    namespace: str | None = None,
    data_class: str | None = None,
    platforms: tuple[str, ...] = (),
) -> tuple[dict[str, Any], list[str]]:
    """The Workload of these objects, and what its writer has to know.

    Args:
        objects: Kubernetes objects.
        name: of the Workload; None: that of the first object that makes pods.
        namespace: of the Workload; None: the one that the objects name.
        data_class: class of its data; None: that of an annotation, else left out.
        platforms: platforms of its images; empty: those of an annotation or of node selectors.

    Raises:
        BadManifest: no workload may have one of the objects.
        CannotWrap: there is no object, or one of ours, or no single namespace.
        HintsDisagree: annotations of two objects say different things.
        NotReadable: name or namespace is none, or there are too many objects.
    """
    if not objects:
        raise CannotWrap("the files hold no object")
    for each in objects:
        if str(each["apiVersion"]).partition("/")[0] == API_GROUP:
            raise CannotWrap(f"{title_of(each)} is a kind of Kapok; apply it as it is")
    objects, hints = take_hints(objects)
    manifests, removed = clean_manifests(objects)
    namespace = namespace or _namespace_of(manifests)
    first = next((each for each in manifests if makes_pods(each)), manifests[0])
    name = name or str(first["metadata"]["name"])
    for option, text, expected in (("--name", name, Name), ("--namespace", namespace, Namespace)):
        _check_name(option, text, expected)
    given = Hints(data_class=data_class, image_platforms=platforms)
    spec = given.over(hints).over(hints_of_nodes(manifests)).as_spec()
    workload = {
        "apiVersion": API_VERSION,
        "kind": Workload.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**spec, "manifests": list(manifests)},
    }
    decode(workload)
    found = set(identities_of(manifests, namespace))
    check_manifests(
        manifests,
        namespace=namespace,
        # What only some tenants may have is for the hub to decide, which knows the Tenant.
        extra_namespaces={where for where, *_ in found if where},
        cluster_kinds=[one for each in manifests for one in names_of_kind(each)],
    )
    check_values(manifests)
    return workload, list(_notices(manifests, namespace, removed))


def _check_name(option: str, text: str, expected: Any) -> None:  # noqa: ANN401 - a type
    try:
        msgspec.convert(text, expected)
    except msgspec.ValidationError:
        raise CannotWrap(
            f"{text[:64]!a} is no name of a Workload or namespace; give one with {option}: small "
            "letters, digits and '-', with a letter or digit first and last"
        ) from None


def _namespace_of(manifests: Sequence[dict[str, Any]]) -> str:
    """The one namespace that the objects name.

    Raises:
        CannotWrap: they name several.
    """
    found = sorted({where for where, *_ in identities_of(manifests, "") if where})
    if len(found) > 1:
        raise CannotWrap(
            f"the objects name the namespaces {format_list(found, _MAX_LISTED)}; say with "
            "--namespace which is the Workload's"
        )
    return found[0] if found else _DEFAULT_NAMESPACE


def _notices(
    manifests: Sequence[dict[str, Any]], namespace: str, removed: Sequence[str]
) -> list[str]:
    """What may keep the Workload from running, though it can be written."""
    found = []
    if removed:
        found.append(f"left out, because a cluster wrote it: {format_list(removed, _MAX_LISTED)}")
    if not any(makes_pods(each) for each in manifests):
        found.append("none of the objects makes pods, so that nothing will run")
    for index, (each, (where, *_)) in enumerate(
        zip(manifests, identities_of(manifests, namespace), strict=True)
    ):
        if not where:
            found.append(f"{title_of(each)} is cluster-scoped; its Tenant's clusterKinds decide")
        elif where != namespace:
            found.append(f"{title_of(each)} is in namespace {where}; its Tenant decides")
        try:
            check_is_counted(each, f"spec.manifests[{index}]", has_demand=False)
        except BadManifest as error:
            found.append(str(error))
    return found
