"""What the hub says about tokens, in tests of the web server."""

from collections.abc import Iterable, Mapping

from scheduler.control.ports.access import AccessAnswer, AccessQuestion, AccessReviewer

ALL, SITES = "*", "sites"
"""In place of a namespace: everything, and the sites."""


def fake_reviewer(rights: Mapping[str, Iterable[str]]) -> AccessReviewer:
    """Answers for known tokens.

    Args:
        rights: by token what it may read: namespaces, `ALL`, `SITES`.
    """

    async def review(token: str, question: AccessQuestion) -> AccessAnswer:
        if token not in rights:
            return "unauthenticated"
        wanted = SITES if question.resource == "sites" else question.namespace or ALL
        return "allowed" if {ALL, wanted} & set(rights[token]) else "denied"

    return review
