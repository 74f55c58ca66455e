"""The Kubernetes API as Kapok's hub: a client, an informer, our CRDs, and schema checks.

`client.py` and `informer.py` implement the hub port of `control`. The server of `kapok up` is not
here but in `scheduler/apiserver`.
Start with `client.py`.
"""
