"""Lists of sites that are to join: what spreadsheets write, and what is wrong in one."""

from pathlib import Path

import pytest

from scheduler.cli.joining.site_list import SiteListError, read_sites


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "rooms.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_thirty_rooms_of_a_spreadsheet_are_read(tmp_path: Path, encoding: str) -> None:
    rows = "".join(f"room-{n},edge,CN-GD,广州,{22 + n / 100},\r\n" for n in range(30))
    text = f"name,tier,province,city,latitude,pue\r\n{rows}\r\n,,,,,\r\n"
    sites = read_sites(written(tmp_path, text, encoding))
    assert len(sites) == 30
    assert sites[1].name == "room-1"
    location = {"province": "CN-GD", "city": "广州", "latitude": 22.01}
    assert sites[1].spec == {"tier": "edge", "location": location}


def test_every_error_names_its_line_and_its_column(tmp_path: Path) -> None:
    text = (
        "name,tier,latitude\n"
        "good,edge,1\n"
        "Bad_Name,huge,91\n"
        "good,,nan\n"
        "short,edge\n"
        "../../x,,\n"
        "kapok-scheduler,,\n"
        f"{'a' * 65},,\n"
    )
    with pytest.raises(SiteListError) as caught:
        read_sites(written(tmp_path, text))
    said = str(caught.value)
    for place in (
        "line 3, column name",
        "line 3, column tier: 'huge'",
        "line 3, column latitude: '91'",
        "line 4, column name: good stands in line 2 too",
        "line 4, column latitude: 'nan'",
        "line 5: 2 cells",
        "line 6, column name",
        "line 7, column name: kapok-scheduler is the scheduler's own name",
        "line 8, column name",
    ):
        assert place in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column name"),
        ("name\n", "line 2: there is no site"),
        ("name,citty\nx,y\n", "column 'citty' is not known"),
        ("name,name\nx,y\n", "is there twice"),
        ('name\n"x', "not CSV"),
        ("name\n" + "".join(f"s{n}\n" for n in range(1001)), "at most 1000 sites"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SiteListError, match=said):
        read_sites(written(tmp_path, text))


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(SiteListError, match="No such file"):
        read_sites(path)
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(SiteListError, match="neither UTF-8 nor GB 18030"):
        read_sites(path)
    path.write_bytes(b"x" * 1_000_001)
    with pytest.raises(SiteListError, match="larger than"):
        read_sites(path)
