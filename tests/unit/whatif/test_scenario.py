"""The words of a scenario: what they mean, and which are refused with the way out."""

import pytest

from scheduler.whatif.scenario.changes import (
    AddCopies,
    ChangeIntensity,
    ChangePrice,
    DrainSite,
    LoseBroker,
    LoseSites,
    ScaleLoad,
    ScenarioError,
    ThawEvictions,
)
from scheduler.whatif.scenario.words import read_scenario
from tests.support.whatifs import changes_of, no_file


def test_several_changes_stand_in_one_line() -> None:
    words = (
        "drain m1 m2 lose province=CN-GD add m3*2 m4 price carbonCnyPerKg=1 "
        "m3.energyCnyPerKwh=-0.1 intensity CN-GX=450.5 load 1.5 thaw"
    )
    assert changes_of(words) == (
        DrainSite(site="m1"),
        DrainSite(site="m2"),
        LoseSites(kind="province", value="CN-GD"),
        AddCopies(site="m3", copies=2),
        AddCopies(site="m4", copies=1),
        ChangePrice(key="carbonCnyPerKg", value=1.0),
        ChangePrice(key="energyCnyPerKwh", value=-0.1, site="m3"),
        ChangeIntensity(zone="CN-GX", gco2_per_kwh=450.5),
        ScaleLoad(factor=1.5),
        ThawEvictions(),
    )
    assert changes_of("lose broker") == (LoseBroker(),)
    assert changes_of("lose site=broker") == (LoseSites(kind="site", value="broker"),)
    assert changes_of("price gz.edge.coreCnyPerHour=0") == (
        ChangePrice(key="coreCnyPerHour", value=0.0, site="gz.edge"),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "empty"),
        ("frob m1", "begin with one of drain"),
        ("drian m1", "did you mean drain?"),
        ("drain", "drain gz-edge"),
        ("drain m1 lose m1", "m1 is drained and lost"),
        ("lose broker drain m1", "no site is reached"),
        ("lose broker thaw", "no site is reached"),
        ("lose province=", "name the province"),
        ("lose provinze=CN-GD", "did you mean province?"),
        ("add m1*0", "from 1 to 1000"),
        ("add m1*1001", "from 1 to 1000"),
        ("add m1*٣", "from 1 to 1000"),
        ("add *2", "name a site"),
        ("grant g.yaml", "name a file"),
        ("drain -f x.yaml", "takes no file"),
        ("add -f", "name a file"),
        ("price carbonCnyPerKq=1", "did you mean carbonCnyPerKg?"),
        ("price carbonCnyPerKg", "price carbonCnyPerKg=0.5"),
        ("price carbonCnyPerKg=-1", "from 0 to 1e+06"),
        ("price m1.carbonCnyPerKg=1", "no price 'carbonCnyPerKg' of a site"),
        ("price m1.energyCnyPerKwh=nan", "write a number"),
        ("price carbonCnyPerKg=1 price carbonCnyPerKg=2", "two different values"),
        ("intensity CN-GD=-1", "from 0 to 10000"),
        ("intensity CN-GD=1 CN-GD=2", "two different values"),
        ("load 0", "above 0"),
        ("load -1", "above 0"),
        ("load inf", "above 0"),
        ("load 101", "up to 100"),
        ("load zwei", "above 0"),
        ("load 2 load 3", "two different values"),
        ("thaw m1", "takes no word"),
        ("drain " + "x" * 600, "512 characters"),
        (" ".join(["drain m1"] * 65), "at most 64 changes"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(words: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said.replace("*", r"\*").replace("+", r"\+")):
        changes_of(words)


def test_the_same_change_twice_is_one_change() -> None:
    assert len(changes_of("load 2 load 2")) == 2


def test_files_belong_to_the_word_before_them() -> None:
    asked = []

    def read(verb: str, name: str) -> DrainSite:
        asked.append((verb, name))
        return DrainSite(site=name)

    read_scenario(["add", "-f", "a.yaml", "m1*2", "policy", "--filename", "p.yaml"], read)
    assert asked == [("add", "a.yaml"), ("policy", "p.yaml")]
    with pytest.raises(ScenarioError, match="no file here"):
        read_scenario(["add", "-f", "a.yaml"], no_file)
