"""What the hub says about tokens, in tests of the web server."""

from collections.abc import Iterable, Mapping

from scheduler.control.ports.access import AccessAnswer, AccessQuestion, AccessReviewer

ALL, SITES, GRANTS = "*", "sites", "sitegrants"
"""In place of a namespace: everything, the sites, and their grants."""


def fake_reviewer(rights: Mapping[str, Iterable[str]]) -> AccessReviewer:
    """Answers for known tokens.

    Args:
        rights: by token what it may read: namespaces, `ALL`, `SITES`, `GRANTS`.
    """

    async def review(token: str, question: AccessQuestion) -> AccessAnswer:
        if token not in rights:
            return "unauthenticated"
        is_work = question.resource == "workloads"
        wanted = (question.namespace or ALL) if is_work else question.resource
        return "allowed" if {ALL, wanted} & set(rights[token]) else "denied"

    return review
