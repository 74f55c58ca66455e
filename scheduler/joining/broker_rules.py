"""What mosquitto has to know of sites: topic rules by the client's common name, and who is refused.

mosquitto 2.0 to 2.x read rules from `acl_file`. 2.1 moves them into a plugin, and 3.0 takes the
plugin alone; the rules themselves are the same.
"""

from collections.abc import Iterable
from pathlib import Path

from scheduler.joining.admission import SCHEDULER_NAME

_DOWN = ("desired", "desired/delta", "orders/#", "hub")
_UP = ("report", "status", "offline", "answer/#")
_PLUGIN = "mosquitto_acl_file.so"
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/mosquitto")
_FIRST_WITH_PLUGIN = (2, 1)


def topic_rules(revoked_sites: Iterable[str]) -> str:
    """The rules of `acl_file`: each site its own topics, the scheduler all, revoked sites none.

    Args:
        revoked_sites: sites of which every certificate is revoked. The revocation list refuses
            their next session; the rule takes all rights from the one that is open.
    """
    refused = "".join(f"user {site}\ntopic deny #\n\n" for site in sorted(revoked_sites))
    scheduler = (
        f"user {SCHEDULER_NAME}\n"
        + "".join(f"topic write kapok/v1/+/{one}\n" for one in _DOWN)
        + "".join(f"topic read kapok/v1/+/{one}\n" for one in _UP)
    )
    patterns = "".join(f"pattern read kapok/v1/%u/{one}\n" for one in _DOWN) + "".join(
        f"pattern write kapok/v1/%u/{one}\n" for one in _UP
    )
    return f"{refused}{scheduler}\n{patterns}"


def rule_settings(rules: Path, version: tuple[int, int]) -> str:
    """The lines of mosquitto.conf that name the rules, in the form of its version."""
    plugin = _find_plugin() if version >= _FIRST_WITH_PLUGIN else None
    if plugin is None:
        return f"acl_file {rules}\n"
    return f"global_plugin {plugin}\nplugin_opt_acl_file {rules}\n"


def _find_plugin() -> Path | None:
    folders = [Path(one) for one in _PLUGIN_FOLDERS]
    folders += [one for folder in folders[:1] for one in folder.glob("*-linux-gnu*")]
    return next((one / _PLUGIN for one in folders if (one / _PLUGIN).exists()), None)
