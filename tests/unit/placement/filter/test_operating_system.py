"""Images run on the operating systems that they are built for."""

import pytest

from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.one_site import asking, at
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import NOW, Raw, nodes


def on(system: str, architecture: str = "amd64", count: int = 5) -> Raw:
    labels = {"kubernetes.io/os": system}
    return {**nodes(count), "labels": labels, "architecture": architecture}


@pytest.mark.parametrize(
    ("node_classes", "platforms", "answer"),
    [
        ([on("windows")], ["linux/amd64"], {"operating-system": 1}),
        ([on("windows")], [], {"operating-system": 1}),
        ([on("windows")], ["windows/amd64"], {}),
        ([on("windows")], ["linux/amd64", "windows/amd64"], {}),
        ([on("linux")], ["windows/amd64"], {"operating-system": 1}),
        ([nodes(5)], ["linux/amd64"], {}),
        ([on("linux"), on("windows")], ["windows/amd64"], {}),
        ([on("windows"), on("linux", "arm64")], ["linux/amd64"], {"architecture": 1}),
        ([on("windows"), on("linux", count=1)], ["linux/amd64"], {"full": 1}),
    ],
)
def test_work_is_placed_where_a_node_runs_the_system_of_its_images(
    node_classes: list[Raw], platforms: list[str], answer: dict[str, int]
) -> None:
    fleet = Fleet([at(nodeClasses=node_classes)])
    asked = asking(5, imagePlatforms=platforms)
    assert dict(choose(asked, fleet, now=NOW).reasons) == answer


@pytest.mark.parametrize(
    "pod",
    [{"os": {"name": "windows"}}, {"nodeSelector": {"kubernetes.io/os": "windows"}}],
)
def test_pods_that_name_windows_need_images_for_it(pod: Raw) -> None:
    manifest = of_kind("apps/v1", "Deployment", replicas=1, template=template(**pod))
    asked = asking(manifests=[manifest], demand=None)
    assert asked.architectures == ("windows/amd64",)
    assert choose(asked, Fleet([at(nodeClasses=[on("windows")])]), now=NOW).phase == "Placed"
    assert dict(choose(asked, Fleet([at()]), now=NOW).reasons) == {"operating-system": 1}
