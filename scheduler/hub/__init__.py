"""The Kubernetes API as Kapok's hub: client, informer, CRDs, and (in `embedded`) a one-machine server."""
