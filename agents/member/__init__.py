"""The site's own cluster: a Kubernetes API client of the standard library, for the agent's needs.

Knows `runtime` and `protocol`. `kubernetes.aio` would cost 60 MB, more than the whole agent takes.
Start with `api.py`.
"""
