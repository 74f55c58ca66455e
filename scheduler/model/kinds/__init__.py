"""The kinds of `kapok.dev/v1alpha1` as types: Site, SiteGrant, Tenant, policies, Workload.

Knows nothing of demands and decisions. CRDs and decoding are derived from these types.
Start with `kinds.py`, which lists them; `fields.py` has the bounded types of their fields.
"""
