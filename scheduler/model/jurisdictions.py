"""Codes of jurisdictions: ISO 3166-2 for the mainland, codes of their own elsewhere.

`CN` and `CN-…` mean the mainland. Hong Kong, Macao and Taiwan have ISO 3166-2 codes below `CN` too
(CN-HK, CN-MO, CN-TW); Kapok does not accept those, so that `CN` cannot be read as including them.
"""

MAINLAND = "CN"

REPLACEMENT_CODES = {"CN-HK": "HK", "CN-MO": "MO", "CN-TW": "TW"}
"""Codes below `CN` that are not the mainland, with the code to write instead."""

REFUSED_BY_SCHEMA = {"CN-HK": "Hong Kong", "CN-MO": "Macao"}
"""Codes that the schemas of our kinds refuse, with the name of the place."""


def is_province(code: str) -> bool:
    """Whether a code has the form of a mainland province, such as CN-GD."""
    return code.startswith(f"{MAINLAND}-")


def admits(entry: str, code: str) -> bool:
    """Whether an entry of `jurisdictions` admits a site's code; `CN` admits the mainland only."""
    if entry == code:
        return True
    return entry == MAINLAND and is_province(code) and code not in REPLACEMENT_CODES
