"""What axe-core finds on a page in a real browser."""

import json
from pathlib import Path
from typing import Final

from tests.support.browser import Browser

_AXE: Final = Path(__file__).resolve().parents[1] / "vendor" / "axe" / "axe.min.js"
_GRAVE: Final = ("serious", "critical")


def grave_findings(window: Browser) -> list[str]:
    """Findings of axe-core that are serious or critical: rule, element and what is missing.

    Its rules are those of WCAG 2.0, 2.1 and 2.2 at levels A and AA, and its best practices. What it
    cannot judge by itself (`incomplete`) is not a finding.
    """
    if not window.run("return 'axe' in window"):
        window.run(_AXE.read_text("utf-8") + "\nwindow.axe = window.axe || this.axe;")
    found = window.run_async(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})"
        ".then((answer) => done(answer.violations), (error) => done([{impact: 'critical',"
        " id: 'axe itself', nodes: [{target: [String(error)], failureSummary: ''}]}]));"
    )
    return [
        f"{rule['id']} at {_written(node['target'])}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in _GRAVE
        for node in rule["nodes"]
    ]


def _written(target: object) -> str:
    return json.dumps(target, ensure_ascii=False)
