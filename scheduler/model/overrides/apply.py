"""The manifests of a workload at one site. Pure.

In this order: the manifests, with what the decision ordered there (replicas, nodes); each override
whose selector matches the site, in the order of the list, its patch before its arguments before its
registries; the registries of the site. An override changes nothing that the decision sets, so that
the two never meet.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scheduler.model.kinds.overrides import ContainerArgs, ImageRegistry, Override, PatchOperation
from scheduler.model.kinds.site import Site, SiteSpec, labels_of_site
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.checks import BadManifest, title_of
from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.manifests import scalable_index
from scheduler.model.overrides.checked import check_patched
from scheduler.model.overrides.images import ImageChange, with_registries
from scheduler.model.overrides.json_patch import (
    PatchFailed,
    Pointer,
    apply_patch,
    parse_pointer,
    shown,
    value_at,
)
from scheduler.model.overrides.permitted import problem_of_path, template_pointers

_MAX_CHANGES_SHOWN = 20


class NotApplicable(ValueError):
    """An override cannot be applied; the message names it and says why."""


class Adaptation(NamedTuple):
    """What applies at a site.

    Attributes:
        overrides: indexes of the workload's overrides, in order.
        registries: those of the site.
    """

    overrides: tuple[int, ...]
    registries: tuple[ImageRegistry, ...]


class Applied(NamedTuple):
    """One step of what was applied.

    Attributes:
        source: the override by its path, or the site's registries.
        object: kind and name of the object that it changed.
        changes: what it changed there, for people.
    """

    source: str
    object: str
    changes: tuple[str, ...]


class Adapted(NamedTuple):
    """The manifests of a site, and how they came about.

    Attributes:
        manifests: the manifests; those that nothing changes are the same objects.
        applied: what was applied, in order.
    """

    manifests: tuple[dict[str, Any], ...]
    applied: tuple[Applied, ...]


def adaptation_at(
    overrides: Sequence[Override], name: str, labels: Mapping[str, str], spec: SiteSpec
) -> Adaptation | None:
    """What applies at a site; None: nothing does.

    Args:
        overrides: of the workload.
        name: of the site.
        labels: of its object.
        spec: of its object.
    """
    matched: tuple[int, ...] = ()
    if overrides:
        known = labels_of_site(name, labels, spec)
        matched = tuple(
            index for index, each in enumerate(overrides) if each.site_selector.matches(known)
        )
    if not matched and not spec.image_registries:
        return None
    return Adaptation(matched, spec.image_registries)


def adaptation_of(overrides: Sequence[Override], site: Site | None) -> Adaptation | None:
    """What applies at a site; None: nothing does, or the site is not known."""
    if site is None or not (overrides or site.spec.image_registries):
        return None
    return adaptation_at(overrides, site.metadata.name, site.metadata.labels, site.spec)


def adapt(
    manifests: Sequence[Mapping[str, Any]],
    adaptation: Adaptation,
    spec: WorkloadSpec,
    *,
    namespace: str,
    tenant: Tenant | None,
) -> Adapted:
    """The manifests of a site with all that applies there.

    Args:
        manifests: as the decision has them; in the order of `spec.manifests`.
        adaptation: what applies.
        spec: of the workload.
        namespace: of the workload.
        tenant: of that namespace; None: its rights are not known, and are not checked.

    Raises:
        NotApplicable: an override cannot be applied to them, or would change what was decided.
    """
    result: list[Mapping[str, Any]] = list(manifests)
    applied: list[Applied] = []
    touched: dict[int, list[str]] = {}
    try:
        for index in adaptation.overrides:
            where = f"spec.overrides[{index}]"
            position = _change_object(result, spec, index, applied)
            if position is not None:
                touched.setdefault(position, []).append(where)
            _rewrite_images(result, spec.overrides[index].image_registries, where, applied)
        for position, by in touched.items():
            if len(by) > 1:  # what one override makes alone was checked when it was accepted
                where = " and ".join(by)
                _check(manifests[position], result[position], where, spec, namespace, tenant)
    except (BadManifest, PatchFailed) as error:
        raise NotApplicable(str(error)) from None
    _rewrite_images(result, adaptation.registries, SITE_REGISTRIES, applied)
    return Adapted(tuple(dict(each) for each in result), tuple(applied))


SITE_REGISTRIES = "imageRegistries of the site"


def check_override(
    manifests: Sequence[Mapping[str, Any]],
    spec: WorkloadSpec,
    index: int,
    *,
    namespace: str,
    tenant: Tenant | None,
) -> None:
    """Applies one override alone, and checks the result.

    Raises:
        BadManifest: the result may not run, or is not what is decided on.
        PatchFailed: it cannot be applied alone; one before it may make the difference.
    """
    result: list[Mapping[str, Any]] = list(manifests)
    position = _change_object(result, spec, index, [])
    if position is not None:
        where = f"spec.overrides[{index}]"
        _check(manifests[position], result[position], where, spec, namespace, tenant)


def target_of(manifests: Sequence[Mapping[str, Any]], override: Override, where: str) -> int:
    """The index of the manifest that the patch and the arguments of an override change.

    Raises:
        BadManifest: there is none, or more than one.
    """
    target = override.target
    if target is None:
        found = [0] if len(manifests) == 1 else []
        scalable = scalable_index(manifests)
        found = found if scalable is None else [scalable]
    else:
        found = [
            index
            for index, each in enumerate(manifests)
            if each.get("kind") == target.kind
            and mapping_or_empty(each.get("metadata")).get("name") == target.name
            and target.api_version in ("", each.get("apiVersion"))
        ]
    if len(found) == 1:
        return found[0]
    if target is None:
        raise BadManifest(
            f"{where}: say which manifest it changes; write target: {{kind: …, name: …}}"
        )
    title = f"{target.kind} {target.name}"
    if found:
        raise BadManifest(f"{where}.target: there are several of {title}; write apiVersion too")
    there = ", ".join(title_of(each) for each in manifests[:_MAX_CHANGES_SHOWN]) or "none"
    raise BadManifest(f"{where}.target: there is no {title}; the manifests are {there}")


def check_paths(
    manifest: Mapping[str, Any], override: Override, where: str, paths: Iterable[str]
) -> None:
    """Refuses operations on fields that are the same at every site.

    Raises:
        BadManifest: the message names the operation.
        PatchFailed: a path is no pointer.
    """
    templates = template_pointers(manifest, paths)
    for number, each in enumerate(override.patch):
        here = f"{where}.patch[{number}]"
        written = [each.path] if each.op != "test" else []
        written += [each.from_] if each.op == "move" else []
        for path in written:
            try:
                problem = problem_of_path(manifest, templates, parse_pointer(path))
            except PatchFailed as error:
                raise PatchFailed(f"{here}: {error}") from None
            if problem:
                raise BadManifest(f"{here}: {problem}")


def _change_object(
    result: list[Mapping[str, Any]], spec: WorkloadSpec, index: int, applied: list[Applied]
) -> int | None:
    """Applies patch and arguments of an override; returns the index of what it changed."""
    override, where = spec.overrides[index], f"spec.overrides[{index}]"
    if not override.patch and not override.args:
        return None
    position = target_of(result, override, where)
    paths = spec.demand.pod_template_paths if spec.demand else ()
    check_paths(result[position], override, where, paths)
    changed: Mapping[str, Any] = result[position]
    if override.patch:
        changed = apply_patch(changed, override.patch, f"{where}.patch")
    for number, each in enumerate(override.args):
        changed = _with_args(changed, each, f"{where}.args[{number}]", paths)
    result[position] = changed
    changes = [f"{each.op} {shown(each.path)}" for each in override.patch if each.op != "test"]
    changes += [f"args of {each.container}" for each in override.args]
    applied.append(Applied(where, title_of(changed), _clipped(changes)))
    return position


def _with_args(
    manifest: Mapping[str, Any], args: ContainerArgs, where: str, paths: Iterable[str]
) -> Mapping[str, Any]:
    """The manifest with the arguments of a container in all of its pod templates."""
    operations: list[PatchOperation] = []
    for template in template_pointers(manifest, paths):
        for field in ("containers", "initContainers"):
            holder: Pointer = (*template, "spec", field)
            for index, each in enumerate(_list_at(manifest, holder)):
                if mapping_or_empty(each).get("name") == args.container:
                    steps = (*holder, str(index), "args")
                    path = "".join(
                        f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps
                    )
                    operations.append(PatchOperation(op="add", path=path, value=list(args.args)))
    if not operations:
        raise PatchFailed(f"{where}: {title_of(manifest)} has no container {args.container}")
    return apply_patch(manifest, operations, where)


def _list_at(manifest: Mapping[str, Any], pointer: Pointer) -> Sequence[Any]:
    try:
        found = value_at(manifest, pointer)
    except PatchFailed:
        return ()
    return found if isinstance(found, list | tuple) else ()


def _check(  # noqa: PLR0917 - the object before and after, and what it is checked by
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    where: str,
    spec: WorkloadSpec,
    namespace: str,
    tenant: Tenant | None,
) -> None:
    check_patched(
        before,
        after,
        where,
        namespace=namespace,
        tenant=tenant,
        template_paths=spec.demand.pod_template_paths if spec.demand else (),
        has_demand=spec.demand is not None,
    )


def _rewrite_images(
    result: list[Mapping[str, Any]],
    registries: Sequence[ImageRegistry],
    source: str,
    applied: list[Applied],
) -> None:
    for position, each in enumerate(result) if registries else ():
        changes: list[ImageChange] = []
        result[position] = with_registries(each, registries, changes)
        if changes:
            texts = list(dict.fromkeys(f"{one.before} -> {one.after}" for one in changes))
            applied.append(Applied(source, title_of(each), _clipped(texts)))


def _clipped(changes: Sequence[str]) -> tuple[str, ...]:
    more = len(changes) - _MAX_CHANGES_SHOWN
    return (*changes[:_MAX_CHANGES_SHOWN], *([f"and {more} more"] if more > 0 else []))
