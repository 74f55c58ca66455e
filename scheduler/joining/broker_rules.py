"""Where mosquitto reads its topic rules from, which differs by its version.

mosquitto 2.0 to 2.x read rules from `acl_file`. 2.1 moves them into a plugin, and 3.0 takes the
plugin alone; the rules themselves (`access_rules`) are the same.
"""

from pathlib import Path

_PLUGIN = "mosquitto_acl_file.so"
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/mosquitto")
_FIRST_WITH_PLUGIN = (2, 1)


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
