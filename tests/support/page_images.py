"""Takes a picture of each view in each language: `python -m tests.support.page_images FOLDER`.

It runs the demo and a headless Chromium. The charts of the overview have one figure each 30 s, so
the pictures are taken after some of them. Chinese needs a font that has it.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.e2e.test_demo import running
from tests.e2e.test_page_work import address
from tests.support.browser import Browser, browser
from tests.support.page_tour import LANGUAGES, VIEWS, Stop, apply_export, choose_looks, visit
from tests.support.up import eventually

SIZE: Final = (1200, 800)
README_PICTURE: Final = "page.png"
"""The overview, in the README."""
README_SIZE: Final = (1500, 700)
MOST_BYTES: Final = 3_000_000
_CHART_SECONDS: Final = 100
_HAS_CHINESE: Final = """
const drawn = (text) => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 60, height: 60});
  const pen = canvas.getContext("2d");
  pen.font = `40px ${getComputedStyle(document.body).fontFamily}`;
  pen.fillText(text, 5, 45);
  return canvas.toDataURL();
};
return drawn("中") !== drawn("文");
"""
"""Without a font, every character is the same box."""


def pictures() -> dict[str, tuple[Stop, str]]:
    """The view and the language of each picture, by file name."""
    return {
        f"page-{stop.view}-{language}.png": (stop, language)
        for language in LANGUAGES
        for stop in VIEWS
    }


def main(words: Sequence[str]) -> int:
    """Writes all pictures into a folder.

    Args:
        words: the folder.

    Returns:
        0, or 1 if they are larger together than they may be, or without a font for Chinese.
    """
    target = Path(words[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder / "demo", "--size", "city"), browser(folder) as window:
            apply_export(folder / "demo" / "hub" / "kubeconfig")
            window.resize(*SIZE)
            window.open(address(folder / "demo" / "hub"))
            if not window.run(_HAS_CHINESE):
                sys.stderr.write("no font has Chinese characters; make system-deps installs one\n")
                return 1
            _take_all(window, target)
    size = sum((target / one).stat().st_size for one in (*pictures(), README_PICTURE))
    sys.stderr.write(f"{len(pictures()) + 1} pictures, {size} bytes\n")
    return int(size > MOST_BYTES)


def _take_all(window: Browser, target: Path) -> None:
    is_full = f"return performance.now() > {_CHART_SECONDS * 1000}"
    eventually(lambda: window.run(is_full), within_seconds=2 * _CHART_SECONDS)
    for name, (stop, language) in pictures().items():
        choose_looks(window, language=language, theme="light")
        _take(window, stop, target / name)
    choose_looks(window, language="en", theme="light")
    window.resize(*README_SIZE)
    _take(window, VIEWS[0], target / README_PICTURE)


def _take(window: Browser, stop: Stop, path: Path) -> None:
    visit(window, stop)
    time.sleep(0.3)  # noqa: TID251 - a real browser draws its charts
    window.screenshot(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
