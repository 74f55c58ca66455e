"""The controllers of a simulated member cluster, one file each, as in kube-controller-manager.

Pure planners (only `namespaces.py` talks to the API): they read the mirror and return a plan. They
know `mirror`, `objects`, `plan` and `pods` of the package above; `effects` carries plans out.
Start with `deployments.py`.
"""
