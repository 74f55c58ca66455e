"""Codes of jurisdictions: ISO 3166-2 for the mainland, codes of their own elsewhere.

`CN` and `CN-…` mean the mainland. Hong Kong, Macao and Taiwan have ISO 3166-2 codes below `CN` too
(CN-HK, CN-MO, CN-TW); Kapok does not accept those, so that `CN` cannot be read as including them.
The list of provinces is closed: another code below `CN` is a typing error, and no place.
"""

MAINLAND = "CN"

PROVINCES = (
    "CN-AH",
    "CN-BJ",
    "CN-CQ",
    "CN-FJ",
    "CN-GD",
    "CN-GS",
    "CN-GX",
    "CN-GZ",
    "CN-HA",
    "CN-HB",
    "CN-HE",
    "CN-HI",
    "CN-HL",
    "CN-HN",
    "CN-JL",
    "CN-JS",
    "CN-JX",
    "CN-LN",
    "CN-NM",
    "CN-NX",
    "CN-QH",
    "CN-SC",
    "CN-SD",
    "CN-SH",
    "CN-SN",
    "CN-SX",
    "CN-TJ",
    "CN-XJ",
    "CN-XZ",
    "CN-YN",
    "CN-ZJ",
)
"""The codes of the mainland's provinces, municipalities and autonomous regions (ISO 3166-2:CN)."""

REPLACEMENT_CODES = {"CN-HK": "HK", "CN-MO": "MO", "CN-TW": "TW"}
"""Codes below `CN` that are not the mainland, with the code to write instead."""

REFUSED_BY_SCHEMA = {"CN-HK": "Hong Kong", "CN-MO": "Macao"}
"""Codes that the schemas of our kinds refuse, with the name of the place."""


def is_province(code: str) -> bool:
    """Whether a code is that of a mainland province, such as CN-GD."""
    return code in PROVINCES


def problem_of(code: str) -> str:
    """What is wrong with a code, and what to write; "" if nothing is.

    Codes that do not begin with `CN-` are as the authority writes them.
    """
    if code in REPLACEMENT_CODES:
        return (
            f"{code} is not supported; write {REPLACEMENT_CODES[code]} "
            "(CN and CN-… are the mainland)"
        )
    if code.startswith(f"{MAINLAND}-") and not is_province(code):
        return f"{code} is no province; write CN, or one of {', '.join(PROVINCES)}"
    return ""


def admits(entry: str, code: str) -> bool:
    """Whether an entry of `jurisdictions` admits a site's code; `CN` admits the mainland only."""
    if problem_of(code):
        return False
    return entry == code or (entry == MAINLAND and is_province(code))
