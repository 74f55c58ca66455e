"""What the Kubernetes objects inside a Workload ask for: pods, replicas, API kinds.

Knows quantities and units only.
Start with `manifests.py`; `pods.py` reads one pod template as the Kubernetes scheduler reads it.
"""
