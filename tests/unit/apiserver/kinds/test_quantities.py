"""Equal quantities have one canonical form."""

import pytest

from scheduler.apiserver.kinds.quantities import canonical_quantity


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("0.5", "500m"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1073741824", "1073741824"),
        ("1073741824000m", "1073741824"),
        ("2000", "2k"),
        ("1500m", "1500m"),
        ("0", "0"),
        ("-1", "-1"),
        ("1e9", "1e9"),
        ("0.1Ki", "102400m"),
        ("1.5.2", "1.5.2"),
        ("1Gib", "1Gib"),
    ],
)
def test_the_canonical_form(text: str, form: str) -> None:
    assert canonical_quantity(text) == form


def test_the_canonical_form_is_stable() -> None:
    for text in ("0.5", "1024Mi", "1e3", "250m", "3E", "1Ei"):
        assert canonical_quantity(canonical_quantity(text)) == canonical_quantity(text)
