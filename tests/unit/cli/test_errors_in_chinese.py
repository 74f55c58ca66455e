"""Errors of commands and refusals of objects are said in the language of the reader."""

from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.model.words.errors import ERRORS, REFUSALS
from scheduler.words.catalogue import catalogue_of

CHINESE = catalogue_of("zh")


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        code = main(["--lang", "zh", *words])
    except SystemExit as end:
        code = int(str(end.code))
    assert code
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.yaml", "- a\n", "应为带有 apiVersion、kind 和 metadata 的对象"),
        ("twice.yaml", "a: 1\na: 2\n", "出现了两次"),
        ("kind.yaml", "apiVersion: v1\nmetadata: {name: x}\n", "缺少 kind"),
        ("name.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {}\n", "Pod 没有 metadata.name"),
        ("text.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n", "不是文本"),
        ("binary.yaml", "\x00", "不是 YAML"),
        ("junk.yaml", "3,14\n" * 300_000, "没有 Kubernetes 对象"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_chinese(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    error = error_of(["apply", "-f", str(file)], capsys)
    assert said in error, error
    assert name in error


def test_wrong_words_and_what_is_not_there_are_named_in_chinese(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "no.yaml")
    assert "没有这个文件或目录" in error_of(["whatif", "-f", missing, "drain", "m1"], capsys)
    assert "不是任何变更的开头" in error_of(["whatif", "drian", "m1"], capsys)
    assert "找不到 kubeconfig" in error_of(
        ["get", "sites", "--kubeconfig", str(tmp_path / "kubeconfig")], capsys
    )
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    assert "文件中没有对象" in error_of(["capacity", "-f", str(empty)], capsys)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ('Workload.kapok.dev "a" is invalid: spec.replicas: Required value', ("无效", "必填")),
        (
            'spec.tier: Unsupported value: "x": supported values: "edge", "core"',
            ('不支持的值 "x"', "支持的值", '"edge", "core"'),
        ),
        ('unknown field "spec.foo"', ('未知字段 "spec.foo"',)),
    ],
)
def test_a_refusal_of_the_hub_is_said_in_chinese(refusal: str, said: tuple[str, ...]) -> None:
    found = CHINESE.say(refusal)
    assert all(one in found for one in said), found
    assert "invalid" not in found


def test_each_error_has_chinese_words_and_keeps_its_values() -> None:
    english = catalogue_of("en")
    for message in (*ERRORS, *REFUSALS):
        slug = message.slug
        assert CHINESE.messages[slug] != english.messages[slug]
