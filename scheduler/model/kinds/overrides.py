"""What of a workload differs from site to site: patches, arguments, and registries of images."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import LabelSelector, Part

MAX_OVERRIDES = 32
MAX_OPERATIONS = 64
"""The most operations of one override."""

_QUICK_REGISTRY = r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$"
"""Every write of a workload is checked with it, so it is quick to match; `problem_of_registry` says
the rest when the workload is accepted."""
_REGISTRY = (
    r"^((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"|[A-Za-z0-9-]+:[0-9]{1,5})(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
)
_DESCRIPTION = (
    "A registry as HOST[:PORT], and if need be the first parts of a repository: docker.io, "
    "registry.k8s.io/pause. Without scheme, tag and digest."
)

Registry = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=_QUICK_REGISTRY, description=_DESCRIPTION)
]
SiteRegistryName = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=_REGISTRY, description=_DESCRIPTION)
]
AnyValue = Annotated[
    Any,
    Meta(
        description="The value of add, replace and test; never null.",
        extra_json_schema={"x-kubernetes-preserve-unknown-fields": True},
    ),
]
"""A value of any type; in an object that the API server keeps, null is the same as absent."""


class ImageRegistry(Part, frozen=True, kw_only=True):
    """Images of one registry, or of a part of it, are pulled from another one.

    The longest `from` that an image begins with counts, by whole parts between slashes. An image
    without a registry is of docker.io, and one without a slash too is of docker.io/library.
    """

    from_: Registry
    to: Registry


class SiteImageRegistry(ImageRegistry, frozen=True, kw_only=True):
    """The same for all work of a site; nothing but its pattern refuses a wrong one."""

    from_: SiteRegistryName
    to: SiteRegistryName


class PatchOperation(Part, frozen=True, kw_only=True):
    """One operation of a JSON Patch (RFC 6902)."""

    op: Annotated[
        Literal["add", "remove", "replace", "move", "copy", "test"],
        Meta(description="What is done at path: add, remove, replace, move, copy or test."),
    ]
    path: Annotated[
        str, Meta(max_length=1024, description="A JSON Pointer into the object (RFC 6901).")
    ]
    from_: Annotated[
        str, Meta(max_length=1024, description="Where move and copy take the value from.")
    ] = ""
    value: AnyValue = None


class ContainerArgs(Part, frozen=True, kw_only=True):
    """The arguments of one container, in place of those in the manifest."""

    container: Annotated[
        str,
        Meta(min_length=1, max_length=63, description="Name of a container or an init container."),
    ]
    args: Annotated[
        tuple[Annotated[str, Meta(max_length=4096)], ...],
        Meta(max_length=64, description="All of its arguments."),
    ] = ()


class OverrideTarget(Part, frozen=True, kw_only=True):
    """Names one of the workload's manifests."""

    kind: Annotated[str, Meta(min_length=1, max_length=63, description="The kind of the manifest.")]
    name: Annotated[str, Meta(min_length=1, max_length=253, description="Its metadata.name.")]
    api_version: Annotated[
        str, Meta(max_length=253, description="Needed only where two groups have the kind.")
    ] = ""


class Override(Part, frozen=True, kw_only=True):
    """What differs at some sites, applied in the order patch, args, imageRegistries."""

    site_selector: Annotated[
        LabelSelector,
        Meta(description="The sites, as in placement.siteSelector. Left out: every site."),
    ] = LabelSelector()
    target: Annotated[
        OverrideTarget | None,
        Meta(
            description="The manifest that patch and args change. Left out: the one that replicas "
            "scales, or the only one."
        ),
    ] = None
    patch: Annotated[
        tuple[PatchOperation, ...],
        Meta(
            max_length=MAX_OPERATIONS,
            description="A JSON Patch of that manifest. What a decision counts by (requests, "
            "replicas, nodes), names and kinds cannot be patched.",
        ),
    ] = ()
    args: Annotated[
        tuple[ContainerArgs, ...],
        Meta(max_length=16, description="Arguments of containers of that manifest."),
    ] = ()
    image_registries: Annotated[
        tuple[ImageRegistry, ...],
        Meta(max_length=32, description="Applies to the images of all manifests."),
    ] = ()


Overrides = Annotated[
    tuple[Override, ...],
    Meta(
        max_length=MAX_OVERRIDES,
        description="What differs at some sites, applied in this order; imageRegistries of a "
        "Site apply after them.",
    ),
]
SiteRegistries = Annotated[
    tuple[SiteImageRegistry, ...],
    Meta(
        max_length=32,
        description="Where images are pulled from at this site instead, for all of its work.",
        extra_json_schema={"x-kubernetes-list-type": "atomic"},
    ),
]
