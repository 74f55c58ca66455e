"""What a token may see, and how long the hub's answer counts."""

from collections.abc import Iterator

from scheduler.control.ports.access import ALL_SITES, ALL_WORKLOADS, AccessAnswer, AccessQuestion
from scheduler.web.sessions import MAX_NAMESPACES, Sessions, Sight
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, SITES, fake_reviewer

TENANT = {"tenant": ["health", SITES], "auditor": [ALL], "stranger": []}


def sessions(clock: FakeClock | None = None) -> Sessions:
    return Sessions(clock or FakeClock(), fake_reviewer(TENANT))


async def test_sight_follows_the_rights_at_the_hub() -> None:
    ours = sessions()
    assert await ours.sight_of("auditor", ["health", "police"]) == Sight()
    seen = await ours.sight_of("tenant", ["health", "police"])
    assert seen == Sight(frozenset({"health"}), has_sites=True, has_grants=False)
    assert (seen.sees("health"), seen.sees("police"), seen.is_all) == (True, False, False)
    nothing = await ours.sight_of("stranger", ["health"])
    assert nothing == Sight(frozenset(), has_sites=False, has_grants=False)
    assert await ours.knows_token("stranger")
    assert not await ours.knows_token("guess")


async def test_the_right_to_so_many_namespaces_is_asked_and_no_more() -> None:
    asked: list[AccessQuestion] = []

    async def review(_token: str, question: AccessQuestion) -> AccessAnswer:
        asked.append(question)
        return "allowed" if question.namespace else "denied"

    names = [f"n{number:04}" for number in range(MAX_NAMESPACES + 50)]
    seen = await Sessions(FakeClock(), review).sight_of("t", names)
    assert seen.namespaces == frozenset(names[:MAX_NAMESPACES])
    assert len(asked) == MAX_NAMESPACES + 3


def _answers() -> Iterator[AccessAnswer]:
    yield from ("allowed", "unanswered", "unanswered", "denied")


async def test_an_answer_counts_for_a_short_time_and_through_an_outage_of_the_hub() -> None:
    clock, answers = FakeClock(), _answers()

    async def review(_token: str, _question: AccessQuestion) -> AccessAnswer:
        return next(answers)

    ours = Sessions(clock, review)
    assert await ours.admits_token("t")
    await clock.advance(29)
    assert await ours.admits_token("t"), "not asked again"
    await clock.advance(2)
    assert await ours.admits_token("t"), "the hub is out, and said yes half a minute ago"
    await clock.advance(601)
    assert not await ours.admits_token("t"), "that is too long ago"
    await clock.advance(3)
    assert not await ours.admits_token("t")


async def test_a_token_that_was_never_answered_gives_no_right() -> None:
    async def review(_token: str, _question: AccessQuestion) -> AccessAnswer:
        return "unanswered"

    ours = Sessions(FakeClock(), review)
    assert not await ours.knows_token("t")
    assert not await ours.admits_token("t")


async def test_a_session_ends_when_the_hub_no_longer_knows_its_token() -> None:
    clock, rights = FakeClock(), {"t": [ALL]}
    ours = Sessions(clock, fake_reviewer(rights))
    session = ours.redeem_code(ours.create_code("t"))
    assert session is not None
    assert ours.token_of_session(session) == "t"
    assert await ours.knows_token(ours.token_of_session(session))
    del rights["t"]
    await clock.advance(31)
    assert not await ours.knows_token(ours.token_of_session(session))


async def test_many_codes_of_one_token_drop_none_of_another() -> None:
    ours = sessions()
    code = ours.create_code("auditor")
    for _ in range(2000):
        ours.create_code("tenant")
    assert ours.redeem_code(code) is not None


def test_a_right_is_named_as_a_person_asks_for_it() -> None:
    assert ALL_WORKLOADS.right == "list workloads.kapok.dev in all namespaces"
    assert ALL_SITES.right == "list sites.kapok.dev"
    one = AccessQuestion(namespace="health", subresource="log")
    assert one.right == "get workloads.kapok.dev/log in namespace health"
