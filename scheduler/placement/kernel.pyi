INTERFACE: int
SOURCE: str  # digest of what it was built from; build_kernel.py adds it
