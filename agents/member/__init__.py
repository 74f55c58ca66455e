"""The site's own cluster: a Kubernetes API client of the standard library, for what we need.

`kubernetes.aio` would cost 60 MB; an edge node that runs a router's worth of memory cannot pay
that.
"""
