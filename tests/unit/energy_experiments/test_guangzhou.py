"""The experiment `guangzhou`: rules, ledgers, break-even shares, and what it refuses to read."""

from pathlib import Path

import pytest

from benchmarks._energy.break_even import break_even_rows, least_green_shares
from benchmarks._energy.guangzhou import Asked, broken_rules, rows
from benchmarks._energy.hubs import HubSite, read_hub_sites

_HUBS = [  # name, province, PUE limit of 2022, class: of the approvals and of the MEE
    ("zhangjiakou", "CN-HE", "1.25", "east"),
    ("yangtze-delta", "CN-SH", "1.25", "east"),
    ("wuhu", "CN-AH", "1.25", "east"),
    ("shaoguan", "CN-GD", "1.25", "east"),
    ("tianfu", "CN-SC", "1.25", "west-demand"),
    ("chongqing", "CN-CQ", "1.25", "west-demand"),
    ("horinger", "CN-NM", "1.2", "west"),
    ("guian", "CN-GZ", "1.2", "west"),
    ("qingyang", "CN-GS", "1.2", "west"),
    ("zhongwei", "CN-NX", "1.2", "west"),
]


def _data(tmp_path: Path, *, pue: str = "", iso: str = "", rtt: str = "30") -> Path:
    """Hubs, three cities, twelve machines and eighty pods."""
    hubs = tmp_path / "china-hubs"
    trace = tmp_path / "openb-gpu-v2023"
    hubs.mkdir()
    trace.mkdir()
    lines = [f"{name},{iso or code},{kind},{pue or limit}" for name, code, limit, kind in _HUBS]
    (hubs / "hubs.csv").write_text(
        "\n".join(["cluster_id,iso,hub_class,pue_limit_2022_approval", *lines]), encoding="utf-8"
    )
    names = [name for name, *_ in _HUBS]
    times = ["5.8" if name == "shaoguan" else rtt for name in names]
    (hubs / "rtt_model_matrix_ms.csv").write_text(
        "\n".join([",".join(["from\\to", *names]), ",".join(["guangzhou", *times])]),
        encoding="utf-8",
    )
    (hubs / "guangdong_gba_cities.csv").write_text(
        "city_zh,rtt_planning_2x_plus_1ms\n广州市,1.0\n深圳市,3.1\n香港,3.6\n", encoding="utf-8"
    )
    (trace / "openb_node_list_all_node.csv").write_text(
        "sn,cpu_milli,memory_mib,gpu,model\n"
        + "".join(f"n{number},64000,262144,0,\n" for number in range(56)),
        encoding="utf-8",
    )
    (trace / "openb_pod_list_default.csv").write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time\n"
        + "".join(
            f"p{number},4000,1024,0,0,,{'LS' if number % 2 else 'BE'},{number},{number + 3600}\n"
            for number in range(80)
        ),
        encoding="utf-8",
    )
    return tmp_path


def test_no_hard_rule_is_broken_and_both_ledgers_say_what_moving_west_saves(
    tmp_path: Path,
) -> None:
    carbon, nearest, *shares = rows(_data(tmp_path), 3)

    for row in (carbon, nearest):
        assert row["rules_broken"] == row["wrong_fits"] == 0
        assert row["placed"] + row["refused"] == 80  # type: ignore[operator]
        assert row["refused_by"] == f"data-class {row['refused']}"
        assert 0 < row["moved_west"] <= row["could_move_west"] or row is nearest  # type: ignore[operator]
        assert row["market_kg"] > 0  # type: ignore[operator]
        assert "assumed" in str(row["inputs"])
        assert "measured" in str(row["inputs"])
    assert carbon["location_kg"] < nearest["location_kg"]  # type: ignore[operator]
    assert carbon["moved_west"] > nearest["moved_west"]  # type: ignore[operator]
    assert carbon["location_saving"] > 0.2  # type: ignore[operator]
    assert len(shares) == 9


def test_break_even_shares_by_decisions_are_those_of_the_formula(tmp_path: Path) -> None:
    found = {each.cluster: each for each in least_green_shares(read_hub_sites(_data(tmp_path)))}

    assert found["guian"].decided == pytest.approx(0.19, abs=0.005)
    assert found["zhongwei"].decided == pytest.approx(0.26, abs=0.005)
    assert found["horinger"].decided == pytest.approx(0.29, abs=0.005)
    assert found["tianfu"].decided == found["qingyang"].decided == 0.0
    assert "shaoguan" not in found
    for each in found.values():
        assert each.decided == pytest.approx(each.formula, abs=0.005)
    assert len(break_even_rows(list(found.values()))) == len(found)


def test_a_share_that_is_not_the_published_one_is_an_error(tmp_path: Path) -> None:
    shares = least_green_shares(read_hub_sites(_data(tmp_path, pue="1.2")))
    with pytest.raises(ValueError, match=r"published 0\.29"):
        break_even_rows(shares)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pue": "0.9"}, "zhangjiakou: a PUE of '0.9'"),
        ({"pue": "nan"}, "zhangjiakou: a PUE of 'nan'"),
        ({"pue": "125"}, "zhangjiakou: a PUE of '125'"),
        ({"iso": "CN-HK"}, "zhangjiakou: CN-HK is no province"),
        ({"rtt": "-1"}, "zhangjiakou: a round trip of '-1' ms"),
        ({"rtt": "soon"}, "zhangjiakou: a round trip of 'soon' ms"),
    ],
)
def test_wrong_figures_of_a_site_are_refused_by_name(
    tmp_path: Path, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match="zhangjiakou") as refused:
        read_hub_sites(_data(tmp_path, **wrong))
    assert message in str(refused.value)


_WEST = HubSite("guian", "CN-GZ", 1.2, 17.5, "general-3", 3, 0, is_west=True)
_HONG_KONG = HubSite("city-22", "HK", 1.5, 3.6, "general-2", 3, 0)


@pytest.mark.parametrize(
    ("site", "asked", "problems"),
    [
        (_WEST, Asked("general-3", 3, 20.0), 0),
        (_WEST, Asked("general-3", 3, 10.0), 1),
        (_WEST, Asked("general-3", 4, None), 1),
        (_WEST, Asked("general-4", 3, None), 2),
        (_WEST, Asked("important", 3, None), 2),
        (_WEST, Asked("core", 1, None), 2),
        (_HONG_KONG, Asked("general-2", 2, 10.0), 0),
        (_HONG_KONG, Asked("general-3", 2, None), 2),
    ],
)
def test_the_check_finds_each_broken_rule(site: HubSite, asked: Asked, problems: int) -> None:
    assert len(list(broken_rules(site, asked))) == problems


def test_missing_data_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="china-hubs"):
        rows(None, 0)
