"""What a kWh emits: factors with year, origin and boundary. Pure.

Knows only `model`. Start with `factor.py`; each further file is one official publication.
"""
