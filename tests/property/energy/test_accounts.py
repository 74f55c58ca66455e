"""Attribution and ledgers add up to what the meters say."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.control.energy.site_meter import SiteMeter
from scheduler.energy.accounts.attribution import attribute_joules, sum_by_tenant
from scheduler.energy.accounts.figures import energy_hour_of
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, bounded_users
from scheduler.energy.accounts.ledgers import JOULES_PER_KWH, grid_kwh
from scheduler.energy.accounts.meters import MeterReading, metered_hours
from scheduler.energy.accounts.month import month_report
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.site_supply import Figure
from scheduler.model.kinds.site import Site
from tests.support.counts import examples

_modelled = st.dictionaries(
    st.sampled_from([f"n/{index}" for index in range(12)]),
    st.one_of(st.floats(min_value=-10, max_value=1e15), st.just(float("nan")), st.just(1e300)),
    max_size=12,
)
_meters = st.integers(min_value=0, max_value=2**53)


@settings(deadline=None)
@given(_meters, _modelled)
@example(2**53, {"n/0": 1e15, "n/1": 3.5})
@example(7, {"n/0": 1.0, "n/1": 1.0, "n/2": 1e300})
@example(0, {"n/0": 5.0})
def test_the_parts_are_the_meter_to_the_joule(metered: int, modelled: dict[str, float]) -> None:
    parts = attribute_joules(metered, modelled)

    assert sum(parts.values()) == metered
    assert all(joules > 0 for joules in parts.values())
    tenants = sum_by_tenant(parts, {"n/0": "a", "n/1": "a", "n/2": "b"})
    assert sum(tenants.values()) == metered


@settings(deadline=None)
@given(_meters, _modelled)
def test_no_user_pays_more_than_its_model_unless_rounded(
    metered: int, modelled: dict[str, float]
) -> None:
    for user, joules in attribute_joules(metered, modelled).items():
        if user:
            assert joules <= modelled[user] + 1


@settings(deadline=None)
@given(
    st.floats(min_value=1, max_value=30 * 86_400),
    st.floats(min_value=0, max_value=1e12),
    st.floats(min_value=0, max_value=7200),
)
def test_hours_add_up_to_the_total(seconds: float, joules: float, offset: float) -> None:
    begin = MeterReading(counter_id="a", at_seconds=1e9 + offset, it_joules=5.0, origin="measured")
    end = MeterReading(
        counter_id="a", at_seconds=1e9 + offset + seconds, it_joules=5.0 + joules, origin="measured"
    )
    hours, fault = metered_hours(begin, end)
    if fault == "implausible":
        assert joules / seconds > 0.9e9
        return
    assert abs(sum(one.it_joules or 0.0 for one in hours) - joules) <= 1e-6 * max(1.0, joules)
    assert abs(sum(one.seconds for one in hours) - seconds) <= 1e-3
    assert all(one.seconds <= 3600.001 for one in hours)
    assert len({one.hour for one in hours}) == len(hours)


_factor = st.builds(
    EmissionFactor,
    gco2_per_kwh=st.floats(min_value=0, max_value=2000),
    origin=st.sampled_from(["measured", "yearly"]),
    boundary=st.just("direct"),
)


@st.composite
def _rows(draw: st.DrawFn) -> list[EnergyHour]:
    rows = []
    for site in ("m1", "m2"):
        for hour in draw(st.sets(st.integers(500_000, 500_005), max_size=4)):
            users = draw(
                st.dictionaries(st.sampled_from(["", "a", "b"]), st.integers(0, 10**10), min_size=1)
            )
            rows.append(
                EnergyHour(
                    site=site,
                    hour=hour,
                    seconds=3600,
                    it_joules=sum(users.values()),
                    origin="measured",
                    pue=draw(st.sampled_from([None, 0.5, 1.0, 1.3])),
                    pue_origin="measured",
                    pv_joules=draw(st.integers(0, 10**9)),
                    location=draw(st.none() | _factor),
                    residual=draw(st.none() | _factor),
                    energy_cny_per_kwh=draw(st.sampled_from([None, 0.5])),
                    peak_cny_per_kilowatt_month=draw(st.sampled_from([None, 40.0])),
                    users=users,
                )
            )
    return rows


@settings(max_examples=examples(60), deadline=None)
@given(_rows())
def test_a_report_adds_up_and_forgets_no_energy(rows: list[EnergyHour]) -> None:
    report = month_report(rows)

    metered = sum(row.it_joules for row in rows) / JOULES_PER_KWH
    for parts in (report.accounts, report.sites, report.departments, [report.total]):
        assert abs(sum(one.it_kwh for one in parts) - metered) < 1e-6 * max(1, metered)
        assert abs(sum(one.cny for one in parts) - report.total.cny) < 1e-6 * max(
            1, report.total.cny
        )
    total = report.total
    grams = sum((grid_kwh(row) or 0.0) * row.location.gco2_per_kwh for row in rows if row.location)
    kilograms = total.location.kilograms or 0.0
    assert abs(kilograms * 1000 - grams) < 1e-6 * max(1, grams)
    # What no factor is known for is named, and not added as 0.
    unknown = [row for row in rows if row.location is None or grid_kwh(row) is None]
    missing = sum(row.it_joules for row in unknown) / JOULES_PER_KWH
    assert abs(total.location.kwh_without_factor - missing) < 1e-6 * max(1, missing)


@given(st.integers(1001, 1500))
@settings(max_examples=5, deadline=None)
def test_many_users_are_bounded_and_still_add_up(count: int) -> None:
    users = {f"t{index}": index + 1 for index in range(count)}

    bounded = bounded_users(users)

    assert len(bounded) <= 1001
    assert sum(bounded.values()) == sum(users.values())


_any_joules = st.one_of(st.none(), st.floats(min_value=0, max_value=1e18))


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "pue": st.floats(min_value=1, max_value=10),
            "wueLitresPerKwh": st.floats(min_value=0, max_value=1e15),
            "embodiedKilograms": st.floats(min_value=0, max_value=1e15),
            "lifetimeYears": st.floats(min_value=1e-300, max_value=100),
            "greenShare": st.floats(min_value=0, max_value=1),
            "greenEvidence": st.text(max_size=128),
            "gridZone": st.sampled_from(["CN-GD", "", "绿"]),
        },
    ),
    st.floats(min_value=-1e6, max_value=1e6),
    st.lists(st.tuples(_any_joules, _any_joules), min_size=2, max_size=4),
)
@example({"embodiedKilograms": 1e15, "lifetimeYears": 1e-300}, 1e6, [(0.0, 0.0), (1e18, 1e18)])
@example({}, 0.5, [(0.0, 0.0), (1.0, 1e18)])
def test_whatever_a_site_and_its_agent_say_a_page_can_be_read_again(
    energy: dict[str, object], price: float, totals: list[tuple[float | None, float | None]]
) -> None:
    raw = {
        "metadata": {"name": "m1"},
        "spec": {"energy": energy, "prices": {"energyCnyPerKwh": price}},
    }
    site, meter = msgspec.convert(raw, Site), SiteMeter()
    for number, (joules, pv) in enumerate(totals):
        reading = MeterReading(
            counter_id="c", at_seconds=1.8e9 + number * 900, it_joules=joules, pv_joules=pv
        )
        meter.count(
            reading,
            row_of=lambda hour: energy_hour_of(
                site, hour, location=None, reported_pue=Figure(None)
            ),
            watts_by_user={"a": 1e300, "b": 3.0},
        )
    counter = meter.counter
    assert counter is not None
    page = EnergyPage(hours=tuple(meter.take_rows()), counters={"m1": counter})

    again = msgspec.json.decode(msgspec.json.encode(page), type=EnergyPage)

    assert again == page
    for row in page.hours:
        assert sum(row.users.values()) == row.it_joules
