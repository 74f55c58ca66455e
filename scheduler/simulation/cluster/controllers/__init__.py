"""The controllers of a simulated member cluster, one file each, as in kube-controller-manager.

Pure planners: they know `objects`, `plan` and `podwork` beside this package; `effects` carries out.
Start with `deployments.py`.
"""
