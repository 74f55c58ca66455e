"""The CustomResourceDefinitions of our kinds, generated from the types that decode the objects.

Knows `model`.
Start with `generate.py`, which writes manifests/crds; `validation_rules.py` holds the CEL rules.
"""
