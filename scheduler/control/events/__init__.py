"""Kubernetes Events about workloads and sites, so that `kubectl describe` shows what happened.

Knows `ports`.
Start with `recorder.py`.
"""
