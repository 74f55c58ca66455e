"""What the manifests of a workload are at one site: patches, arguments, registries of images.

Pure: knows kinds and manifests. Overrides change what a site runs, and nothing that a decision
counts by (`permitted.py`). Start with `apply.py`.
"""
