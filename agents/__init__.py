"""The agent at a site: reports what the site has, and applies the orders that the hub signed.

Never imports the scheduler; the scheduler imports `agents.protocol` only. The agent stays small, so
it does without aiohttp, kubernetes, numpy and pydantic.
Start with `app.py`: how the parts are put together; then `protocol`: what they send and receive.
"""

__version__ = "0.1.0"
"""The same as in pyproject.toml, by a test; reading the package's metadata would cost 1 MB."""
