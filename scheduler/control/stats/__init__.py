"""Statistics of workloads: waiting times, usage and refusals by site.

Knows `state` and `ports`.
Start with `workloads.py`.
"""
