"""The kinds of `kapok.dev/v1alpha1` as types: Site, SiteGrant, Tenant, policies, Workload.

Knows nothing of demands and decisions. CRDs, decoding and documents are made from these types.
Start with `kinds.py`, the one registry of them; `fields.py` has the bounded building blocks.
"""
