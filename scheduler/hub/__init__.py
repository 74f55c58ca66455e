"""The Kubernetes API as Kapok's hub: client, informer, CRDs, and a one-machine server."""
