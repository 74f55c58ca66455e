"""The catalogues have the same slugs and slots as each other and as the messages in the code."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from scheduler.model.reasons import REASONS
from scheduler.model.words.phrases import ENGLISH, Phrases, Slot, split_template
from scheduler.words.languages import LANGUAGES, Language
from tests.support.catalogues import declared_messages, read

ENGLISH_FILE, CHINESE_FILE = read("en"), read("zh")


def slots(template: str) -> Counter[tuple[str, str]]:
    """The slots of a template, without what is written where a value is empty."""
    found = [part for part in split_template(template) if isinstance(part, Slot)]
    return Counter((each.name, each.kind) for each in found)


def test_the_english_catalogue_is_what_the_code_says() -> None:
    assert ENGLISH_FILE["messages"] == declared_messages(), "run `make catalogues`"
    assert msgspec.convert(ENGLISH_FILE["phrases"], Phrases) == ENGLISH


def test_both_catalogues_have_the_same_entries() -> None:
    assert list(ENGLISH_FILE) == list(CHINESE_FILE)
    for section in set(ENGLISH_FILE) - {"language", "name"}:
        assert ENGLISH_FILE[section].keys() == CHINESE_FILE[section].keys(), section


@pytest.mark.parametrize("slug", sorted(ENGLISH_FILE["messages"]))
def test_a_message_has_the_same_slots_in_both_languages(slug: str) -> None:
    english, chinese = ENGLISH_FILE["messages"][slug], CHINESE_FILE["messages"][slug]
    assert set(slots(english)) == set(slots(chinese))
    for content in (english, chinese):
        literals = [part for part in split_template(content) if isinstance(part, str)]
        assert not any(brace in part for part in literals for brace in "{}"), content


def test_every_message_with_words_of_its_own_is_translated() -> None:
    for slug, english in ENGLISH_FILE["messages"].items():
        literals = "".join(part for part in split_template(english) if isinstance(part, str))
        if any(letter.isalpha() for letter in literals.replace("CNY", "")):
            assert has_chinese(CHINESE_FILE["messages"][slug]), slug


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_a_plain_sentence_and_who_to_ask(language: Language) -> None:
    content = read(language)
    assert set(REASONS) <= set(content["reasons"])
    assert set(content["ask"]) == {"tenant", "operator", "authority"}
    for reason, entry in content["reasons"].items():
        assert entry["who"] == ENGLISH_FILE["reasons"][reason]["who"]
        assert entry["sentence"].endswith("。" if language == "zh" else "."), reason
        assert len(entry["sentence"]) <= 120
        assert not any(word in entry["sentence"] for word in JARGON), reason


JARGON = ("SiteGrant", "spec.", "kubectl", "NoSchedule", "taint", "污点", "MLPS", "API")
"""What a reader who knows neither Kapok nor Kubernetes has to look up."""


def test_plain_sentences_and_labels_are_chinese_in_chinese() -> None:
    for section in ("reasons", "ask", "labels"):
        for key, entry in CHINESE_FILE[section].items():
            assert has_chinese(_text(entry)) or key in UNTRANSLATED, (section, key)


UNTRANSLATED = frozenset({"CPU", "URL", "ID", "PUE"})


def _text(entry: Any) -> str:  # noqa: ANN401 - a text, or an object with one
    return entry["sentence"] if isinstance(entry, dict) else str(entry)


def has_chinese(text: str) -> bool:
    """Whether a text has a Chinese character or punctuation mark."""
    return any("\u3000" <= one <= "\u9fff" or "\uff00" <= one <= "\uffef" for one in text)
