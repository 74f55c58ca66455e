"""The light agent at a site: reports what the site really has, applies what the hub signed."""

__version__ = "0.1.0"
"""As in pyproject.toml; a test compares. Reading the metadata would cost 1 MB of memory."""
