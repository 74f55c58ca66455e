"""The Helm chart, generated from the overlays of manifests/: `make manifests` writes it.

kustomize is the source: each overlay is one template, chosen by `overlay` in the values. Values
replace the image and the settings; for more, write an overlay.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from scheduler import __version__
from tests.support.kustomize import MANIFESTS, OVERLAYS, Json, kustomize, overlay

CHART = MANIFESTS / "chart"
SETTINGS_NAME = re.compile(r"^(kapok-(?:scheduler|agent|push)-settings)-[a-z0-9]{10}$")
"""The name of the ConfigMap with the settings; its end is a digest."""
NOT_IN_TEMPLATES = {"CustomResourceDefinition", "Namespace"}
"""Helm installs CRDs first and never deletes them; it makes the namespace by --create-namespace."""
_GENERATED = "# Generated from manifests/overlays by `make manifests`; edit those, not this file.\n"
_PROGRAMS = {"kapok-scheduler": "scheduler", "kapok-agent": "agent", "kapok-push": "agent"}


def chart_files() -> dict[str, str]:
    """The text of each file of the chart, by its path in the chart."""
    files = {
        "Chart.yaml": _GENERATED + _dump(_chart()),
        "values.yaml": _GENERATED + _VALUES_HEAD + _dump(_values()),
    }
    for name in OVERLAYS:
        files[f"templates/{name}.yaml"] = _GENERATED + _template(name)
    files["templates/dashboards.yaml"] = _GENERATED + _dashboards()
    for path in (MANIFESTS / "crds").glob("*.yaml"):
        files[f"crds/{path.name}"] = path.read_text(encoding="utf-8")
    return files


_VALUES_HEAD = """\
# Install with
#   helm install kapok manifests/chart --namespace kapok-system --create-namespace --set overlay=ha
#   kubectl label namespace kapok-system pod-security.kubernetes.io/enforce=restricted
# With Grafana and its sidecar: --set dashboards=true.
# The objects are always in kapok-system. What has to be there before is in the head of
# manifests/overlays/NAME/kustomization.yaml.
"""


def _chart() -> Json:
    return {
        "apiVersion": "v2",
        "name": "kapok",
        "description": "Places workloads across edge rooms, green data centres and clouds",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": ">=1.30.0-0",
    }


def _values() -> Json:
    values: dict[str, Any] = {
        "overlay": "single",
        "dashboards": False,
        "image": {},
        "settings": {},
    }
    for name in OVERLAYS:
        for one in overlay(name):
            if one["kind"] == "Deployment":
                program = _PROGRAMS[one["metadata"]["name"]]
                values["image"][program] = _container_of(one)["image"]
            for text in _settings_of(one):
                values["settings"][_key_of(name)] = text
    return values


def _template(name: str) -> str:
    parts = [
        "---\n" + _with_values(_dump(_with_marks(one)), name, one)
        for one in overlay(name)
        if one["kind"] not in NOT_IN_TEMPLATES
    ]
    return f'{{{{- if eq .Values.overlay "{name}" }}}}\n{"".join(parts)}{{{{- end }}}}\n'


def _dashboards() -> str:
    """The dashboards, which a cluster with Grafana and its sidecar takes."""
    text = "".join("---\n" + _dump(one) for one in kustomize(MANIFESTS / "grafana"))
    text = text.replace("{{", '{{ "{{" }}')
    return f"{{{{- if .Values.dashboards }}}}\n{text}{{{{- end }}}}\n"


_IMAGE, _TEXT, _DIGEST = "MARK-OF-IMAGE", "MARK-OF-SETTINGS", "MARK-OF-DIGEST"


def _with_marks(one: Json) -> Json:
    """A copy with marks where values go."""
    copy: Json = yaml.safe_load(_dump(one))
    for key in _settings_keys(copy):
        copy["data"][key] = _TEXT
    if _is_settings_name(copy["metadata"]["name"], one):
        copy["metadata"]["name"] = _marked_name(copy["metadata"]["name"])
    if copy["kind"] == "Deployment":
        _container_of(copy)["image"] = _IMAGE
        for volume in copy["spec"]["template"]["spec"]["volumes"]:
            source = volume.get("configMap", {})
            if SETTINGS_NAME.match(source.get("name", "")):
                source["name"] = _marked_name(source["name"])
    return copy


def _with_values(text: str, name: str, one: Json) -> str:
    """The text of an object with what Helm evaluates in place of the marks."""
    text = re.sub(r"\{\{", '{{ "{{" }}', text)
    settings = f".Values.settings.{_key_of(name)}"
    text = text.replace(_TEXT, f"{{{{ {settings} | toJson }}}}")
    text = text.replace(_DIGEST, f"{{{{ {settings} | sha256sum | trunc 10 }}}}")
    if one["kind"] == "Deployment":
        program = _PROGRAMS[one["metadata"]["name"]]
        text = text.replace(_IMAGE, f"{{{{ .Values.image.{program} | toJson }}}}")
    return text


def _settings_keys(one: Json) -> list[str]:
    names = ("scheduler.yaml", "agent.yaml", "push.yaml")
    return [key for key in names if one["kind"] == "ConfigMap" and key in one["data"]]


def _settings_of(one: Json) -> Iterator[str]:
    for key in _settings_keys(one):
        yield one["data"][key]


def _is_settings_name(name: str, one: Json) -> bool:
    return bool(_settings_keys(one)) and SETTINGS_NAME.match(name) is not None


def _marked_name(name: str) -> str:
    return SETTINGS_NAME.sub(rf"\1-{_DIGEST}", name)


def _container_of(deployment: Json) -> Json:
    container: Json
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return container


def _key_of(name: str) -> str:
    """The name of an overlay as Helm's dotted paths can say it."""
    return re.sub(r"-(.)", lambda found: found[1].upper(), name)


def _dump(value: Json) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return text


def main() -> int:
    """Writes the chart and removes files that are no part of it any more."""
    files = chart_files()
    for path in [path for path in CHART.rglob("*") if path.is_file()]:
        if str(path.relative_to(CHART)) not in files:
            path.unlink()
    for name, text in files.items():
        path = CHART / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{CHART}: {len(files)} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
