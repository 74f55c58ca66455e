"""Which hub `kapok up` uses: the embedded one, or the real API server that something names.

In this order: `--kubeconfig`, the setting `hub.kubeconfig`, the service account of the Pod that
this runs in (unless `hub.in_cluster` is false), the embedded hub. $KUBECONFIG and ~/.kube/config
name the cluster that a person works on, and are never read for this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from scheduler.hub.in_cluster import IN_CLUSTER_FILE, has_service_account
from scheduler.settings import HubSettings, Settings, SettingsError


@dataclass(frozen=True, slots=True)
class HubChoice:
    """The hub that is used.

    Attributes:
        settings: all settings; `hub.kubeconfig` names the chosen hub, and is empty for the
            embedded one.
        sentence: which hub it is, and what named it.
    """

    settings: Settings
    sentence: str

    @property
    def kind(self) -> Literal["embedded", "external"]:
        """What kind of hub it is."""
        return "external" if self.settings.hub.kubeconfig else "embedded"


def choose_hub(
    settings: Settings,
    data_path: Path,
    *,
    kubeconfig: str | None = None,
    is_in_pod: Callable[[], bool] = has_service_account,
) -> HubChoice:
    """The hub that the command line, the settings and the Pod name.

    Args:
        settings: all settings.
        data_path: the data directory.
        kubeconfig: the value of `--kubeconfig`; None: not given.
        is_in_pod: whether this runs in a Pod with a service account.

    Raises:
        SettingsError: a file that is named is absent, or a setting needs another hub.
    """
    hub = settings.hub
    if kubeconfig is not None:
        # A context of the settings belongs to the file that they name.
        is_same = kubeconfig == hub.kubeconfig
        hub = _named(hub, kubeconfig, "--kubeconfig", context=hub.context if is_same else "")
        sentence = f"the hub is external: --kubeconfig {kubeconfig}"
    elif hub.kubeconfig:
        hub = _named(hub, hub.kubeconfig, "hub.kubeconfig", context=hub.context)
        sentence = f"the hub is external: hub.kubeconfig {hub.kubeconfig}"
    elif hub.in_cluster and is_in_pod():
        hub = msgspec.structs.replace(hub, kubeconfig=str(data_path / IN_CLUSTER_FILE), context="")
        sentence = (
            "the hub is external: the cluster that this Pod runs in, by its service account "
            "(hub.in_cluster: false for the embedded hub)"
        )
    elif hub.signing_key_secret:
        raise SettingsError(
            "hub.signing_key_secret: the embedded hub has no Secret; leave it empty, or name a "
            "kubeconfig in hub.kubeconfig"
        )
    else:
        sentence = "the hub is embedded: no kubeconfig and no service account names another"
    return HubChoice(msgspec.structs.replace(settings, hub=hub), sentence)


def _named(hub: HubSettings, kubeconfig: str, origin: str, *, context: str) -> HubSettings:
    if not kubeconfig or not Path(kubeconfig).exists():
        raise SettingsError(
            f"{origin}: {kubeconfig or 'an empty name'}: no such file; name the kubeconfig of a "
            "real cluster, or leave it out for the embedded hub"
        )
    return msgspec.structs.replace(hub, kubeconfig=kubeconfig, context=context)
