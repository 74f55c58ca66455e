"""The Pod Security Standards as one table: which fields of a pod which level refuses. Pure.

The controls are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/ in
Kubernetes 1.36. Each names the values that a field may have, never the ones that it may not, so
that an unknown value is refused. `check_pod_security` looks at every pod spec of a
manifest, whatever its kind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from scheduler.model.manifests.checks import BadManifest, title_of
from scheduler.model.manifests.containers import (
    field_names,
    mapping_or_empty,
    mappings_in,
)
from scheduler.model.manifests.templates import (
    PodSpecAt,
    find_pod_specs,
    find_possible_pod_parts,
    find_texts_of_privileged_pods,
    group_kind,
    is_context,
)

PodSecurity = Literal["restricted", "baseline", "privileged"]
"""The levels, strictest first."""

LEVELS: tuple[PodSecurity, ...] = get_args(PodSecurity)


class NotSecure(BadManifest):
    """A pod asks for more than the Pod Security level of its tenant allows."""


class Violation(NamedTuple):
    """A field that a level refuses.

    Attributes:
        path: of the field in the manifest.
        what: the value, and what is allowed instead.
        control: the name of the control in the standard.
        allowed_by: the strictest level that allows it.
    """

    path: str
    what: str
    control: str
    allowed_by: PodSecurity


def check_pod_security(manifest: Mapping[str, Any], path: str, level: PodSecurity) -> None:
    """Refuses a manifest with a pod that the level does not allow.

    Args:
        manifest: the object.
        path: of the object in the workload.
        level: of the tenant.

    Raises:
        NotSecure: the message names the field, and the level that allows it.
    """
    found = next(violations(manifest, level), None)
    if found is not None:
        raise NotSecure(
            f"{path}.{found.path}: {title_of(manifest)} {found.what} ({found.control} of the Pod "
            f"Security Standards, level {level}); change it, or have the Tenant's podSecurity set "
            f"to {found.allowed_by}"
        )


def violations(manifest: Mapping[str, Any], level: PodSecurity) -> Iterator[Violation]:
    """All fields of a manifest's pods that a level refuses.

    Of custom objects every part is looked at that an operator may copy into a pod. What such a
    part leaves out is not asked for, as `restricted` does of pods: the operator writes it.
    """
    if level == "privileged":
        return
    names = field_names(manifest)
    baseline = [(control, check) for control, fields, check in _BASELINE if fields & names]
    restricted = _RESTRICTED if level == "restricted" else ()
    seen: set[str] = set()
    for pod in _pods_of(manifest) if baseline or restricted else ():
        for control, check in baseline:
            for path, what in check(pod):
                if path not in seen:
                    seen.add(path)
                    yield Violation(path, what, control, "privileged")
        if not pod.is_possible:
            for control, check in restricted:
                for path, what in check(pod):
                    yield Violation(path, what, control, "baseline")
    yield from _weaker_namespace(manifest, level)
    for path in find_texts_of_privileged_pods(manifest):
        what = "holds a pod that asks for rights on its node; leave them out"
        yield Violation(path, what, "Privileged Containers", "privileged")


def _pods_of(manifest: Mapping[str, Any]) -> Iterator[PodSpecAt]:
    yield from find_pod_specs(manifest)
    yield from find_possible_pod_parts(manifest)


_ENFORCE = "pod-security.kubernetes.io/enforce"


def _weaker_namespace(manifest: Mapping[str, Any], level: PodSecurity) -> Iterator[Violation]:
    """A Namespace with a label that has its cluster allow more than the level."""
    if group_kind(manifest) == ("", "Namespace"):
        labels = mapping_or_empty(mapping_or_empty(manifest.get("metadata")).get("labels"))
        allowed = LEVELS[: LEVELS.index(level) + 1]
        if _ENFORCE in labels and labels[_ENFORCE] not in allowed:
            path = f"metadata.labels.{_ENFORCE}"
            what = f"has {str(labels[_ENFORCE])[:64]}; write {level}"
            yield Violation(path, what, "Pod Security admission", "privileged")


_Found = Iterator[tuple[str, str]]
_Check = Callable[[PodSpecAt], _Found]
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def _containers(pod: PodSpecAt) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field in _CONTAINER_LISTS:
        written = pod.spec.get(field)
        for index, each in enumerate(written if isinstance(written, list | tuple) else ()):
            if isinstance(each, Mapping):
                yield f"{pod.spec_path}.{field}[{index}]", each
    if pod.is_possible:
        yield pod.spec_path, pod.spec


def _contexts(pod: PodSpecAt) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The security contexts of the pod and of its containers."""
    for path, holder in ((pod.spec_path, pod.spec), *_containers(pod)):
        yield f"{path}.securityContext", mapping_or_empty(holder.get("securityContext"))
    if pod.is_possible:
        for name in pod.spec:
            if is_context(name):
                yield f"{pod.spec_path}.{name}", mapping_or_empty(pod.spec[name])


def _one_of(
    fields: Iterable[tuple[str, Mapping[str, Any]]], name: str, allowed: Sequence[object]
) -> _Found:
    """Finds values of a field, as `a.b`, that are not in a list."""
    *parents, last = name.split(".")
    for path, holder in fields:
        inner: Mapping[str, Any] = holder
        for each in parents:
            inner = mapping_or_empty(inner.get(each))
        value = inner.get(last)
        # `False == 0`, so the type counts too.
        if not any(value == each and isinstance(value, type(each)) for each in allowed):
            rest = ", ".join(_show(each) for each in allowed if each not in (None, ""))
            yield (
                f"{path}.{name}",
                f"has {str(value)[:64]}; " + (f"write {rest}" if rest else "leave it out"),
            )


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _host_process(pod: PodSpecAt) -> _Found:
    return _one_of(_contexts(pod), "windowsOptions.hostProcess", (None, False))


def _host_namespaces(pod: PodSpecAt) -> _Found:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        yield from _one_of([(pod.spec_path, pod.spec)], name, (None, False))


def _privileged(pod: PodSpecAt) -> _Found:
    return _one_of(_contexts(pod), "privileged", (None, False))


_BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)


def _added_capabilities(pod: PodSpecAt, allowed: frozenset[str]) -> _Found:
    for path, context in _contexts(pod):
        added = mapping_or_empty(context.get("capabilities")).get("add")
        if added is None:
            continue
        names = added if isinstance(added, list | tuple) else [added]
        beyond = [str(each)[:64] for each in names if str(each) not in allowed]
        if beyond:
            yield (
                f"{path}.capabilities.add",
                f"adds {', '.join(beyond)}; allowed are {', '.join(sorted(allowed))}",
            )


def _baseline_capabilities(pod: PodSpecAt) -> _Found:
    return _added_capabilities(pod, _BASELINE_CAPABILITIES)


def _volumes(pod: PodSpecAt) -> Iterator[tuple[str, Mapping[str, Any]]]:
    written = pod.spec.get("volumes")
    for index, each in enumerate(written if isinstance(written, list | tuple) else ()):
        if isinstance(each, Mapping):
            yield f"{pod.spec_path}.volumes[{index}]", each


def _host_path(pod: PodSpecAt) -> _Found:
    for path, volume in _volumes(pod):
        if volume.get("hostPath") is not None:
            yield f"{path}.hostPath", "mounts a folder of the node; leave it out"
    if pod.is_possible and isinstance(pod.spec.get("hostPath"), Mapping):
        yield f"{pod.spec_path}.hostPath", "mounts a folder of the node; leave it out"


def _host_ports(pod: PodSpecAt) -> _Found:
    for path, container in _containers(pod):
        ports = mappings_in(container.get("ports"))
        fields = [(f"{path}.ports[{index}]", each) for index, each in enumerate(ports)]
        yield from _one_of(fields, "hostPort", (None, 0))


_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("lifecycle.postStart", "lifecycle.preStop")


def _host_probes(pod: PodSpecAt) -> _Found:
    for where in (*_PROBES, *_HOOKS):
        for action in ("httpGet", "tcpSocket"):
            yield from _one_of(_containers(pod), f"{where}.{action}.host", (None, ""))


def _app_armor(pod: PodSpecAt) -> _Found:
    allowed = (None, "RuntimeDefault", "Localhost")
    yield from _one_of(_contexts(pod), "appArmorProfile.type", allowed)
    notes = mapping_or_empty(mapping_or_empty(pod.template.get("metadata")).get("annotations"))
    for name, value in notes.items():
        if str(name).startswith("container.apparmor.security.beta.kubernetes.io/"):
            profile = str(value)
            if profile not in ("", "runtime/default") and not profile.startswith("localhost/"):
                yield (
                    f"{pod.path}.metadata.annotations.{name}".removeprefix("."),
                    f"has {profile[:64]}; write runtime/default",
                )


_SELINUX_TYPES = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t")


def _selinux(pod: PodSpecAt) -> _Found:
    yield from _one_of(_contexts(pod), "seLinuxOptions.type", (None, "", *_SELINUX_TYPES))
    for name in ("user", "role"):
        yield from _one_of(_contexts(pod), f"seLinuxOptions.{name}", (None, ""))


def _proc_mount(pod: PodSpecAt) -> _Found:
    return _one_of(_contexts(pod), "procMount", (None, "Default"))


_SECCOMP_ANNOTATIONS = (
    "seccomp.security.alpha.kubernetes.io/pod",
    "container.seccomp.security.alpha.kubernetes.io/",
)


def _baseline_seccomp(pod: PodSpecAt) -> _Found:
    allowed = (None, "RuntimeDefault", "Localhost")
    yield from _one_of(_contexts(pod), "seccompProfile.type", allowed)
    notes = mapping_or_empty(mapping_or_empty(pod.template.get("metadata")).get("annotations"))
    for name, value in notes.items():
        if str(name).startswith(_SECCOMP_ANNOTATIONS) and str(value) == "unconfined":
            path = f"{pod.path}.metadata.annotations.{name}".removeprefix(".")
            yield path, "has unconfined; write runtime/default"


_SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
)


def _sysctls(pod: PodSpecAt) -> _Found:
    context = mapping_or_empty(pod.spec.get("securityContext"))
    for index, each in enumerate(mappings_in(context.get("sysctls"))):
        path = f"{pod.spec_path}.securityContext.sysctls[{index}]"
        yield from _one_of([(path, each)], "name", _SAFE_SYSCTLS)


_BASELINE: tuple[tuple[str, frozenset[str], _Check], ...] = (
    ("HostProcess", frozenset({"hostProcess"}), _host_process),
    ("Host Namespaces", frozenset({"hostNetwork", "hostPID", "hostIPC"}), _host_namespaces),
    ("Privileged Containers", frozenset({"privileged"}), _privileged),
    ("Capabilities", frozenset({"capabilities"}), _baseline_capabilities),
    ("HostPath Volumes", frozenset({"hostPath"}), _host_path),
    ("Host Ports", frozenset({"hostPort"}), _host_ports),
    ("Host Probes / Lifecycle Hooks", frozenset({"host"}), _host_probes),
    ("AppArmor", frozenset({"appArmorProfile", "annotations"}), _app_armor),
    ("SELinux", frozenset({"seLinuxOptions"}), _selinux),
    ("/proc Mount Type", frozenset({"procMount"}), _proc_mount),
    ("Seccomp", frozenset({"seccompProfile", "annotations"}), _baseline_seccomp),
    ("Sysctls", frozenset({"sysctls"}), _sysctls),
)
"""Each control with the fields that it reads. What has none of them is allowed by this level."""


_RESTRICTED_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)


def _volume_types(pod: PodSpecAt) -> _Found:
    for path, volume in _volumes(pod):
        for kind in sorted({str(each) for each in volume} - {"name"} - _RESTRICTED_VOLUMES):
            if volume.get(kind) is not None:
                yield (
                    f"{path}.{kind}",
                    f"mounts a {kind[:64]}; write one of " + ", ".join(sorted(_RESTRICTED_VOLUMES)),
                )


def _is_windows(pod: PodSpecAt) -> bool:
    return mapping_or_empty(pod.spec.get("os")).get("name") == "windows"


def _container_contexts(pod: PodSpecAt) -> list[tuple[str, Mapping[str, Any]]]:
    return list(_contexts(pod))[1:]


def _privilege_escalation(pod: PodSpecAt) -> _Found:
    if not _is_windows(pod):
        yield from _one_of(_container_contexts(pod), "allowPrivilegeEscalation", (False,))


def _run_as_non_root(pod: PodSpecAt) -> _Found:
    whole = mapping_or_empty(pod.spec.get("securityContext")).get("runAsNonRoot")
    allowed = (None, True) if whole is True else (True,)
    contexts = _container_contexts(pod)
    yield from _one_of(contexts, "runAsNonRoot", allowed)
    if whole not in (None, True):
        yield from _one_of(list(_contexts(pod))[:1], "runAsNonRoot", (None, True))


def _run_as_user(pod: PodSpecAt) -> _Found:
    for path, context in _contexts(pod):
        user = context.get("runAsUser")
        is_number = isinstance(user, int) and not isinstance(user, bool)
        if user is not None and not (is_number and user != 0):
            yield f"{path}.runAsUser", f"has {str(user)[:64]}; write another user than root (0)"


def _restricted_seccomp(pod: PodSpecAt) -> _Found:
    if _is_windows(pod):
        return
    profiles = ("RuntimeDefault", "Localhost")
    whole = mapping_or_empty(pod.spec.get("securityContext"))
    has_whole = mapping_or_empty(whole.get("seccompProfile")).get("type") in profiles
    allowed = (None, *profiles) if has_whole else profiles
    yield from _one_of(_container_contexts(pod), "seccompProfile.type", allowed)


def _restricted_capabilities(pod: PodSpecAt) -> _Found:
    if _is_windows(pod):
        return
    for path, context in _container_contexts(pod):
        dropped = mapping_or_empty(context.get("capabilities")).get("drop")
        if not isinstance(dropped, list | tuple) or "ALL" not in dropped:
            yield f"{path}.capabilities.drop", "does not drop ALL; write drop: [ALL]"
    yield from _added_capabilities(pod, frozenset({"NET_BIND_SERVICE"}))


_RESTRICTED: tuple[tuple[str, _Check], ...] = (
    ("Volume Types", _volume_types),
    ("Privilege Escalation", _privilege_escalation),
    ("Running as Non-root", _run_as_non_root),
    ("Running as Non-root user", _run_as_user),
    ("Seccomp", _restricted_seccomp),
    ("Capabilities", _restricted_capabilities),
)
