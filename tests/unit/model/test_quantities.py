from collections.abc import Callable
from fractions import Fraction

import pytest

from scheduler.model.quantities import (
    NotAQuantity,
    format_amount,
    free_amount,
    free_amounts,
    parse_quantity,
    refuse_shares,
    requested_amount,
    requests_of,
)


@pytest.mark.parametrize(
    "text", ["1Gi", "1073741824", "1073741824000m", "1024Mi", "1048576Ki", "1.073741824e9"]
)
def test_equal_quantities_are_equal(text: str) -> None:
    assert parse_quantity(text) == 2**30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e9", Fraction(10**9)),
        ("1E3", Fraction(1000)),
        ("1E", Fraction(10**18)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("+3", Fraction(3)),
        ("100n", Fraction(1, 10**7)),
        ("3u", Fraction(3, 10**6)),
        ("1.5Ki", Fraction(1536)),
    ],
)
def test_a_quantity_is_read_exactly(text: str, value: Fraction) -> None:
    assert parse_quantity(text) == value


def test_numbers_of_yaml_are_quantities_too() -> None:
    assert parse_quantity(0.5) == Fraction(1, 2)
    assert parse_quantity(1073741824) == 2**30
    assert parse_quantity(1e16) == 10**16


@pytest.mark.parametrize(
    "text",
    [
        "1.5.2",
        "",
        "Gi",
        "1 Gi",
        "1Gi ",
        " 1Gi",
        "1Gi\n",
        "1gi",
        "--1",
        "1e",
        "0x10",
        "1_000",
        "\u0661",
        "1" * 65,
        True,
        float("nan"),
        float("inf"),
    ],
)
def test_a_text_that_is_no_quantity_is_refused_by_name(text: str) -> None:
    with pytest.raises(NotAQuantity, match="is not a quantity; write"):
        parse_quantity(text)


@pytest.mark.parametrize("number", [True, float("nan"), float("inf")])
def test_a_number_that_is_no_amount_is_refused(number: float) -> None:
    with pytest.raises(NotAQuantity, match="is not a quantity; write"):
        parse_quantity(number)


def test_a_negative_request_is_refused_by_name() -> None:
    with pytest.raises(NotAQuantity, match="memory: '-1' is negative"):
        requests_of({"memory": "-1"})


@pytest.mark.parametrize("text", ["1e30", "9Ei", "1e99"])
def test_an_amount_that_no_machine_has_is_refused(text: str) -> None:
    with pytest.raises(NotAQuantity, match="too large"):
        requested_amount("memory", text)


def test_requests_are_rounded_up_and_free_capacity_down() -> None:
    assert requested_amount("cpu", "1u") == 1
    assert requested_amount("memory", "1500m") == 2
    assert free_amount("cpu", "1999u") == 1
    assert free_amount("memory", "1999m") == 1


def test_free_capacity_below_zero_is_none() -> None:
    assert free_amount("cpu", "-1") == 0


def test_cpu_counts_in_millicores_and_zero_requests_are_left_out() -> None:
    assert requests_of({"cpu": "1.5", "memory": 0, "nvidia.com/gpu": 2}) == {
        "cpu": 1500,
        "nvidia.com/gpu": 2,
    }


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [("cpu", 1500, "1500m"), ("cpu", 2000, "2"), ("memory", 2**30, "1Gi"), ("memory", 5, "5")],
)
def test_amounts_are_written_as_people_write_them(resource: str, amount: int, text: str) -> None:
    assert format_amount(resource, amount) == text
    assert requested_amount(resource, text) == amount


@pytest.mark.parametrize(
    "column",
    [
        ["1500m", "007m", "0m"],
        ["1500m", "2"],
        ["1500m,3m", "2m"],
        ["1073741824", "1", "999999999999999999"],
        ["1073741824", "1Gi", 3, 0.5],
        [5, 0, 2**62 - 1],
        [5, -1],
        ["-1", "3"],
        ["1_0m", "3m"],
        ["\u0661m", "3m"],
        ["", "m"],
        ["9999999999999999999m", "1m"],
        [2**62, 1],
        [True, 1],
        [1.0, 2],
        [],
    ],
)
@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_many_nodes_are_read_as_each_of_them_is(resource: str, column: list[float | str]) -> None:
    def outcome(read: Callable[[], object]) -> object:
        try:
            return read()
        except NotAQuantity as error:
            return str(error)

    each = outcome(lambda: [free_amount(resource, value) for value in column])
    assert outcome(lambda: free_amounts(resource, column)) == each


@pytest.mark.parametrize("text", ["4Ei", "8Ei", "9999999Ei", "9999999Pi"])
def test_a_short_text_above_the_most_is_refused_too(text: str) -> None:
    with pytest.raises(NotAQuantity, match="too large"):
        free_amount("memory", text)


def test_what_pods_get_in_whole_has_no_parts() -> None:
    refuse_shares({"cpu": "1.5", "nvidia.com/gpu": "2", "huawei.com/Ascend910": "1e3"})
    with pytest.raises(NotAQuantity, match=r"nvidia.com/gpu: 1.5 is no whole number.*gpu-milli: N"):
        refuse_shares({"nvidia.com/gpu": "1.5"})
    with pytest.raises(NotAQuantity, match=r"huawei.com/Ascend910: 500m is no whole number"):
        refuse_shares({"huawei.com/Ascend910": "500m"})
