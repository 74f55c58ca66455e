"""Agents of many sites in one process beside the hub, for sites with `delivery.mode: Push`.

Start with `host.py`: it follows the Sites of the hub and runs one agent (`agents.app`) for each.
`hub.py` reads Sites and Secrets, `kubeconfig.py` makes an access of a Secret, `threads.py` keeps
the threads of the members apart. `profile_accesses.py` follows ClusterProfiles
(`cluster_profile.py`) and runs the operator's plugins (`providers.py`, `credential_plugin.py`).
"""
