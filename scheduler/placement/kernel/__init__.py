"""The arithmetic of single decisions as an optional compiled extension; the same bytes, faster.

Knows nothing of ours. What it computes exists in NumPy too, in the packages above.
Start with `loader.py`: it alone imports the extension, and says why it is not used.
"""
