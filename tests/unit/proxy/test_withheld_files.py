"""What is withheld, as programs and people see it."""

from __future__ import annotations

import re
from dataclasses import replace

from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.values import Withheld
from pypiserver.proxy.withheld_files import MAX_ROWS, json_of, rows_of, summary_of

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


def test_people_read_one_sentence() -> None:
    files = [remote_file(f"urllib3-2.7.{number}.tar.gz", days=number) for number in (1, 2)]
    files += [remote_file("urllib3-1.0.tar.gz", days=None), *(remote_file(f"urllib3-1.{n}.tar.gz") for n in (1, 2, 3))]
    judged = Policy(PolicySettings(min_age=7 * DAY)).judge(
        replace(PUBLIC, max_file_size=2000), remote_page(*files), NOW
    )
    withheld = [*judged.withheld, *(Withheld(file, "formats", "") for file in judged.files)]
    total, *groups = re.split("[:,] ", summary_of(withheld).replace(":00", ".00"))
    assert total.startswith("6 files")
    assert [group.partition(" ")[0] for group in groups] == ["2", "1", "3"]
    assert "7 days" in groups[0]
    assert "2026-12-05 12.00 UTC" in groups[0]
    assert ("upload time" in groups[1], "kind" in groups[2]) == (True, True)
    assert "1 denied" in summary_of([Withheld(YOUNG, "deny-projects", "")])
    assert "by the rule new-one" in summary_of([Withheld(YOUNG, "new-one", "")])
    assert "too young" in summary_of([Withheld(YOUNG, "min-age", "", NOW), Withheld(YOUNG, "min-age", "", 1)])
    assert summary_of([Withheld(YOUNG, "min-age", "", 1e300)]) != ""
    assert summary_of([]) == ""
