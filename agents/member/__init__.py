"""The client for the API of the member cluster, the site's own: with the standard library only.

Knows `runtime` and `protocol`. The kubernetes package would take 60 MB, more than the whole agent.
Start with `api.py`.
"""
