"""Kubernetes Events about workloads, so that `kubectl describe` shows what happened.

Knows `ports`.
Start with `recorder.py`.
"""
