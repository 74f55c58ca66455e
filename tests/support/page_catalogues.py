"""Catalogues of the translated pages: `make docs-catalogues` brings new sentences into them.

A page that is listed here has a complete catalogue; a test says so. The others stay English.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOCALE = "zh_CN"
FOLDER = DOCS / "locale" / LOCALE / "LC_MESSAGES"
_NOT_WORDS = re.compile(r"`[^`]*`|[\d.]+|Machine: .*")


def translated_pages() -> list[str]:
    """Names of the pages that have a catalogue, without suffix."""
    how_to = sorted(f"howto/{path.stem}" for path in (DOCS / "howto").glob("*.md"))
    return ["tutorial", *how_to, "upgrade", "recovery", "concepts", "tenants", "auditors"]


def templates() -> dict[str, Catalog]:
    """The sentences of the translated pages, as Sphinx finds them."""
    pages = translated_pages()
    with tempfile.TemporaryDirectory() as folder:
        include = ",".join(("index.md", *(f"{page}.md" for page in pages)))
        subprocess.run(
            [
                *(sys.executable, "-m", "sphinx", "-Q", "-b", "gettext"),
                *("-D", f"include_patterns={include}", str(DOCS), folder),
            ],
            check=True,
        )
        return {page: _read(Path(folder) / f"{page}.pot") for page in pages}


def catalogue_of(page: str) -> Catalog:
    """The catalogue of a page; empty if it has none."""
    path = FOLDER / f"{page}.po"
    return _read(path) if path.is_file() else Catalog(locale=LOCALE)


def untranslated(template: Catalog, catalogue: Catalog) -> Iterator[str]:
    """Sentences that the catalogue lacks or has in doubt; figures and code need no translation."""
    for message in template:
        sentence = str(message.id)
        if not sentence or not _NOT_WORDS.sub("", sentence).strip(" ,;"):
            continue
        found = catalogue.get(sentence)
        if found is None or not found.string or found.fuzzy:
            yield sentence


def write(page: str, template: Catalog) -> None:
    """Writes the catalogue of a page with the sentences that the page has now."""
    catalogue = catalogue_of(page)
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    path = FOLDER / f"{page}.po"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=100, no_location=True, omit_header=True)


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=LOCALE)


def main() -> int:
    """Updates every catalogue, and prints what is left to translate."""
    for page, template in templates().items():
        write(page, template)
        for sentence in untranslated(template, catalogue_of(page)):
            sys.stdout.write(f"{page}: {sentence}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
