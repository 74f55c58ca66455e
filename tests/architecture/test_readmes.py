"""README.md and README.zh-CN.md say the same: commands, sections, links, and the list of gaps."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
TITLES = {
    "What it does": "主要能力",
    "Install": "安装",
    "This laptop as a site": "把这台笔记本电脑接入为站点",
    "Decide without running anything": "离线决策",
    "What is not there yet": "尚未实现",
    "Notes": "说明",
    "Documentation": "文档",
}
GAPS = "What is not there yet"

Sections = dict[str, str]


def sections(name: str) -> Sections:
    """Text by heading; what stands before the first one is under ""."""
    parts = re.split(r"^## (.+)$", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def commands(text: str) -> list[list[str]]:
    """The lines of each code block, without their comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [[line.partition("#")[0].strip() for line in block.splitlines()] for block in blocks]


def tokens(text: str) -> set[str]:
    """What stands in backticks in running text."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", text)) - {ENGLISH, CHINESE}


def items(text: str) -> list[str]:
    """The items of a list, each with its continuation lines."""
    return re.split(r"^- ", text, flags=re.MULTILINE)[1:]


ENGLISH_SECTIONS, CHINESE_SECTIONS = sections(ENGLISH), sections(CHINESE)
PAIRS = {
    title or "top": (ENGLISH_SECTIONS[title], CHINESE_SECTIONS[TITLES.get(title, "")])
    for title in ENGLISH_SECTIONS
    if TITLES.get(title, "") in CHINESE_SECTIONS
}
each_section = pytest.mark.parametrize(("english", "chinese"), PAIRS.values(), ids=PAIRS.keys())


def test_the_sections_are_the_same_in_the_same_order() -> None:
    assert list(ENGLISH_SECTIONS) == ["", *TITLES]
    assert list(CHINESE_SECTIONS) == ["", *TITLES.values()]


@each_section
def test_the_commands_are_the_same(english: str, chinese: str) -> None:
    assert commands(english) == commands(chinese)


@each_section
def test_the_links_and_the_words_of_the_code_are_the_same(english: str, chinese: str) -> None:
    assert links(english) == links(chinese)
    assert tokens(english) == tokens(chinese)


@each_section
def test_lists_have_the_same_number_of_items(english: str, chinese: str) -> None:
    assert len(items(english)) == len(items(chinese))


def test_the_gaps_are_the_same_one_by_one() -> None:
    gaps = items(ENGLISH_SECTIONS[GAPS]), items(CHINESE_SECTIONS[TITLES[GAPS]])
    assert len(gaps[0]) >= 5
    assert [tokens(gap) for gap in gaps[0]] == [tokens(gap) for gap in gaps[1]]


def test_every_code_block_was_read() -> None:
    text = (ROOT / ENGLISH).read_text(encoding="utf-8")
    assert sum(len(commands(part)) for part in ENGLISH_SECTIONS.values()) == text.count("```") // 2
