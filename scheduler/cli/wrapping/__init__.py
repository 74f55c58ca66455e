"""What `kapok wrap` infers of plain manifests, and what it asks for.

Knows the input files of `support`. Start with `hints.py`: what annotations and node selectors say.
"""
