"""What is written as YAML is read as the same value by our reader, YAML 1.1's, and kubectl."""

import json
import subprocess
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.cli.support.output import format_object_as_yaml
from scheduler.hub.schema.yaml_documents import load_documents
from scheduler.hub.schema.yaml_writer import dump_yaml
from tests.support.tools import require_tool

ODD = (
    "1e3", "1E3", "1.e+3", ".5", "5.", "+1", "-0", "0x1F", "0o17", "017", "0b11", "1_000", "12:30",
    "190:20:30", "12:30:45.5", "y", "Y", "n", "No", "yes", "on", "Off", "TRUE", "~", "null",
    "Null", "", " ", " a", "a ", "=", "<<", "*a", "&a", "!a", "!!str", "%a", "@a", "`a", "- a", "-",
    "--- a", "---", "...", "? a", ":", ": a", "a:", "a: b", "a #b", "#b", "[a", "{a", "]", "}", ",",
    "|",    ">", "'", '"', "'a'", '"a"', ".inf", "-.INF", ".nan", "NaN", "inf", "2026-11-30",
    "2026-11-30T01:02:03Z", "2026-11-30 01:02:03", "1.2.3", "v1", "1Gi", "500m", "0", "00",
    "9" * 30, "1.0", "a\nb", "a\n",
    "\na", " a\nb", "a\n\n", "\n", "a \nb", "\t", "a\tb", "a\tb\nc", "a\rb", "a\r\nb\r\n", "\x00",
    "\x1b[31m", "\x7f", "\x85", "\u2028a\nb", "\ufeff", "\ufeffa\nb", "\u202e", "木棉", "🌺", "é",
    "a" * 300, "word " * 60, "#!/bin/sh\nset -e\n\techo hi\n", "key: |\n  text\n", "\\n", "\\",
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(ODD)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(texts, values, max_size=4))
@example({text: text for text in ODD})
@example({"list": list(ODD), "nested": [[{"on": "y"}, []], {}, None, 1e22, 1e-7, -0.0]})
def test_every_value_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    for text in (format_object_as_yaml(value), dump_yaml(value).decode()):
        [document] = load_documents(text) if value else [None]
        if document is not None:
            assert document.value == value
        assert yaml.safe_load(text) == value


def test_kubectl_reads_the_same_texts() -> None:
    kubectl = require_tool("kubectl")
    data = {f"key-{number}": text for number, text in enumerate(ODD)}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "odd", "annotations": {f"on/{text}": "y" for text in ("y", "1e3")}},
        "data": data,
    }
    for text in (format_object_as_yaml(body), dump_yaml(body).decode()):
        done = subprocess.run(
            [kubectl, "label", "--local", "-f", "-", "a=b", "-o", "json"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["data"] == data
