"""What is withheld, as programs and people see it."""

from __future__ import annotations

from dataclasses import replace

from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.values import Withheld
from pypiserver.proxy.withheld_files import MAX_ROWS, json_of, rows_of

from .remote import DAY, NOW, PUBLIC, remote_file, remote_page

YOUNG = remote_file("urllib3-2.7.0-py3-none-any.whl", days=1)


def test_programs_get_name_rule_reason_and_date() -> None:
    page = remote_page(YOUNG, remote_file("urllib3-2.7.0.tar.gz", days=None))
    judged = Policy(PolicySettings(min_age=7 * DAY)).judge(PUBLIC, page, NOW)
    first, second = json_of(judged.withheld)
    assert first == {
        "filename": YOUNG.filename,
        "rule": "min-age",
        "reason": judged.withheld[0].reason,
        "until": "2026-12-06T12:00:00Z",
    }
    assert (second["filename"], second["until"]) == ("urllib3-2.7.0.tar.gz", None)


def test_a_date_is_never_before_the_file_is_given_out() -> None:
    assert json_of([Withheld(YOUNG, "min-age", "", 0.001)])[0]["until"] == "1970-01-01T00:00:01Z"
    assert json_of([Withheld(YOUNG, "min-age", "", 1e300)])[0]["until"] is None


def test_the_soonest_come_first_and_the_table_is_bounded() -> None:
    withheld = [
        Withheld(replace(YOUNG, filename=f"f{number}"), "", "", until) for number, until in enumerate((None, 9.0, 3.0))
    ]
    rows, more = rows_of(withheld)
    assert ([row.filename for row in rows], more) == (["f2", "f1", "f0"], 0)
    rows, more = rows_of([Withheld(YOUNG, "", "")] * (MAX_ROWS + 7))
    assert (len(rows), more) == (MAX_ROWS, 7)
