"""What the manifests of a workload are at one site: patches, arguments, registries of images. Pure.

Overrides change what a site runs, never what a decision counts by: see `permitted.py`.
"""
