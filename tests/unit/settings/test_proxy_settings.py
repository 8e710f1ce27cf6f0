"""The settings about other indexes: modes, what contradicts them, and the tables ``[[upstream]]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypiserver.errors import ConfigError
from pypiserver.settings import parsers, toml_file
from pypiserver.settings.config import SETTINGS, SOURCES, Config, build, make_config
from pypiserver.settings.proxy_settings import ASKING, MODES
from pypiserver.settings.upstream_tables import KEYS, UpstreamTable, upstream_tables

URL = "https://pypi.example/simple/"


def faults_of(**keywords: object) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        make_config(roots="p", **keywords)
    return [(each.kind, each.setting) for each in caught.value.mistakes]


def from_file(folder: Path, text: str) -> Config:
    file = folder / "pypiserver.toml"
    file.write_text(text)
    faults: list[Any] = []
    return build(SOURCES.gather({}, {}, toml_file.read(file), faults), faults)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_says_who_asks_the_other_index(mode: str) -> None:
    made = make_config(roots="p", fallback_mode=mode.upper(), fallback_url=URL)
    assert (made.mode, made.asks_others) == (mode, mode in ASKING)
    assert (made.fallback_address is None) == (mode == "off")


def test_disable_fallback_is_the_mode_off() -> None:
    assert make_config(roots="p", disable_fallback=True).mode == "off"
    assert make_config(roots="p", disable_fallback=True, fallback_mode="off").mode == "off"
    assert make_config(roots="p", redirect_to_fallback=True).mode == "redirect"


@pytest.mark.parametrize("mode", ASKING)
def test_disable_fallback_excludes_a_proxy(mode: str) -> None:
    assert faults_of(disable_fallback=True, fallback_mode=mode) == [("contradiction", "fallback")]


NEEDING: dict[str, object] = {
    "offline": True,
    "merge": "a-*",
    "known_names": True,
    "min_age": "7d",
    "not_after": "2026-11-28",
    "allow_projects": "f",
    "deny_projects": "f",
    "upstream": [{"name": "a", "url": URL}],
}


@pytest.mark.parametrize("name", NEEDING)
@pytest.mark.parametrize("mode", ["redirect", "off"])
def test_what_a_redirect_cannot_enforce_is_a_mistake(name: str, mode: str) -> None:
    assert faults_of(fallback_mode=mode, **{name: NEEDING[name]}) == [("contradiction", name)]


@pytest.mark.parametrize("name", NEEDING)
def test_the_same_is_none_with_a_cache(name: str) -> None:
    assert getattr(make_config(roots="p", fallback_mode="cache", **{name: NEEDING[name]}), name)


def test_exceptions_need_a_rule() -> None:
    assert faults_of(fallback_mode="cache", allow="f") == [("contradiction", "allow")]
    assert make_config(roots="p", fallback_mode="cache", allow="f", min_age="7d").allow == Path("f")
    young = [{"name": "a", "url": URL, "min_age": "1d"}]
    assert make_config(roots="p", fallback_mode="cache", allow="f", upstream=young).allow == Path("f")


def test_an_offline_proxy_without_files_is_a_mistake() -> None:
    assert faults_of(fallback_mode="proxy", offline=True) == [("contradiction", "offline")]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("10m", 600), ("7d", 604_800), (90, 90), ("90", 90), ("0", 0), ("1H", 3600)],
)
def test_a_time_has_a_unit_or_is_in_seconds(given: object, seconds: int) -> None:
    assert parsers.duration(given) == seconds == parsers.duration(seconds)


@pytest.mark.parametrize("given", ["7 days", "-1d", "1w2d", True, 1.5, "d"])
def test_what_is_no_time_is_refused(given: object) -> None:
    assert faults_of(fallback_mode="cache", min_age=given) == [("value", "min_age")]


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ("2026-11-28", 1795910400 - 1e-6),
        ("2026-11-28T12:00:00Z", 1795867200.0),
        ("2026-11-28T12:00:00+02:00", 1795860000.0),
    ],
)
def test_a_date_is_its_whole_day_in_utc(given: str, end: float) -> None:
    assert parsers.date(given) == given
    assert parsers.end_of(given) == pytest.approx(end, abs=1e-3)


@pytest.mark.parametrize("given", ["28.11.2026", "2026-13-01", "2026-11-28T12:00:00", "tomorrow"])
def test_what_is_no_date_is_refused(given: str) -> None:
    assert faults_of(fallback_mode="cache", not_after=given) == [("value", "not_after")]


def test_a_file_has_a_table_for_each_index(tmp_path: Path) -> None:
    made = from_file(
        tmp_path,
        """
        fallback_mode = "cache"
        not_after = 2026-11-28
        cache_folder = "kept"
        [[upstream]]
        name = "pytorch"
        url = "https://download.example/whl/cu130"
        projects = ["torch*", "!torch-secret", "nvidia-*"]
        missing = [403, 404]
        min_age = "0"
        [[upstream]]
        name = "corp"
        url = "http://index.internal:8081/simple/"
        hosts = ["http://Files.internal:8081/"]
        formats = ["Wheel"]
        platforms = ["manylinux*", "win_amd64"]
        pythons = ["cp312"]
        max_file_size = "500M"
        unknown_age = "first-seen"
        """,
    )
    assert made.upstream == (
        UpstreamTable(
            "pytorch",
            "https://download.example/whl/cu130/",
            ("torch*", "!torch-secret", "nvidia-*"),
            missing=(403, 404),
            min_age=0,
        ),
        UpstreamTable(
            "corp",
            "http://index.internal:8081/simple/",
            hosts=("http://files.internal:8081",),
            formats=("wheel",),
            platforms=("manylinux*", "win_amd64"),
            pythons=("cp312",),
            max_file_size=500 << 20,
            unknown_age="first-seen",
        ),
    )
    assert (made.not_after, made.cache_folder) == ("2026-11-28", tmp_path / "kept")
    assert SETTINGS["upstream"].parse(made.upstream) == made.upstream


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"name": "a"},
        {"url": URL},
        {"name": "A b", "url": URL},
        {"name": "../x", "url": URL},
        {"name": "a", "url": "ftp://x/"},
        {"name": "a", "url": URL + "?x=1"},
        {"name": "a", "url": URL, "project": ["b"]},
        {"name": "a", "url": URL, "projects": []},
        {"name": "a", "url": URL, "projects": ["!b"]},
        {"name": "a", "url": URL, "missing": [500]},
        {"name": "a", "url": URL, "hosts": ["files.example"]},
        {"name": "a", "url": URL, "hosts": ["https://files.example/x"]},
        {"name": "a", "url": URL, "min_age": "soon"},
        {"name": "a", "url": URL, "unknown_age": "ignore"},
        {"name": "a", "url": URL, "formats": ["egg"]},
        {"name": "a", "url": URL, "platforms": ["a/b"]},
        "no table",
    ],
)
def test_a_wrong_table_is_a_mistake(table: object) -> None:
    assert faults_of(fallback_mode="cache", upstream=[table]) == [("value", "upstream")]


def test_two_indexes_have_two_names() -> None:
    twice = [{"name": "a", "url": URL}, {"name": "a", "url": "https://other.example/"}]
    assert faults_of(fallback_mode="cache", upstream=twice) == [("value", "upstream")]


def test_an_unknown_key_has_a_suggestion() -> None:
    with pytest.raises(ValueError, match="'projects'"):
        upstream_tables([{"name": "a", "url": URL, "project": ["b"]}])


def test_no_message_repeats_a_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(
            tmp_path, 'fallback_mode = "cache"\n[[upstream]]\nname = "a"\nurl = "ftp://ada:geheim@pypi.example/"\n'
        )
    assert "geheim" not in str(caught.value)


def test_one_table_with_single_brackets_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, '[upstream]\nname = "a"\n')
    assert [each.kind for each in caught.value.mistakes] == ["section"]


def test_credentials_in_variables_are_no_settings() -> None:
    faults: list[Any] = []
    variables = ("UPSTREAM_PYPI_USER", "UPSTREAM_PYPI_PASSWORD", "UPSTREAM_A_B_PASSWORD_FILE")
    assert SOURCES.gather({}, {f"PYPISERVER_{each}": "x" for each in variables}, {}, faults) == {}
    assert faults == []


def test_every_key_of_a_table_has_a_text() -> None:
    assert all(each["help"].endswith(".") for each in KEYS.values())
