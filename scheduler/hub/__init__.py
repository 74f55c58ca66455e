"""The Kubernetes API as Kapok's hub: client, informers, CRDs of our kinds, and schema checks.

`client.py` implements the hub port of `control`, and `informer.py` follows collections over that
port. The embedded server of `kapok up` is in `scheduler/apiserver`.
Start with `client.py`.
"""
