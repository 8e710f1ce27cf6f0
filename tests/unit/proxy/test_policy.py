"""What of other indexes is given out: by age, by lists, by kinds, at each moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.errors import Forbidden, Unavailable
from pypiserver.model import ACTIVE, ProjectStatus
from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.values import Judged, Refusal
from pypiserver.upstream.values import RemoteFile, Upstream
from tests.raising import raises

from .remote import DAY, NOW, PUBLIC, project, remote_file, remote_page

WEEK = PolicySettings(min_age=7 * DAY)
OLD = remote_file("urllib3-2.6.0-py3-none-any.whl", days=40)
YOUNG = remote_file("urllib3-2.7.0-py3-none-any.whl", days=1)
YOUNG_SOURCE = remote_file("urllib3-2.7.0.tar.gz", days=2)
# A wheel that was added to an old release.
LATE = remote_file("urllib3-2.6.0-cp314-cp314-win32.whl", days=3)
PAGE = remote_page(OLD, LATE, YOUNG, YOUNG_SOURCE)
Write = Callable[..., PolicySettings]


@pytest.fixture
def lists(tmp_path: Path) -> Write:
    """Settings with these lists: ``lists(deny_projects="a<2")``."""

    def written(settings: PolicySettings = WEEK, **texts: str) -> PolicySettings:
        for name, text in texts.items():
            (tmp_path / f"{name}.txt").write_text(text)
            settings = replace(settings, **{name: tmp_path / f"{name}.txt"})
        return settings

    return written


def names(judged: Judged) -> tuple[set[str], dict[str, str]]:
    """The files that are given out, and the rule of each other one."""
    left = {file.filename for file in judged.files}
    withheld = {each.file.filename: each.rule for each in judged.withheld}
    assert not left & withheld.keys()
    return left, withheld


def test_files_are_withheld_until_they_are_old_enough() -> None:
    judged = Policy(WEEK).judge(PUBLIC, PAGE, NOW)
    assert names(judged) == (
        {OLD.filename},
        {LATE.filename: "min-age", YOUNG.filename: "min-age", YOUNG_SOURCE.filename: "min-age"},
    )
    # The old release has a file left, the new one has none.
    assert judged.versions == ("2.6.0",)
    assert {each.file.filename: each.until for each in judged.withheld} == {
        LATE.filename: NOW + 4 * DAY,
        YOUNG.filename: NOW + 6 * DAY,
        YOUNG_SOURCE.filename: NOW + 5 * DAY,
    }
    assert (judged.since, judged.changes_at, judged.status) == (NOW - 33 * DAY, NOW + 4 * DAY, ACTIVE)
    assert names(Policy(WEEK).judge(PUBLIC, PAGE, NOW + 4 * DAY - 0.001))[0] == {OLD.filename}
    assert names(Policy(WEEK).judge(PUBLIC, PAGE, NOW + 4 * DAY))[0] == {OLD.filename, LATE.filename}


def test_without_rules_a_page_stays_as_it_is() -> None:
    judged = Policy(PolicySettings()).judge(PUBLIC, PAGE, NOW)
    assert judged == Judged(PAGE.files, PAGE.versions, PAGE.status)


def test_an_index_may_have_its_own_minimum_age() -> None:
    for settings, own, expected in ((WEEK, 0.0, 4), (WEEK, 2.5 * DAY, 2), (PolicySettings(), 7 * DAY, 1)):
        judged = Policy(settings).judge(replace(PUBLIC, min_age=own), PAGE, NOW)
        assert len(judged.files) == expected, (settings, own)


def test_a_file_without_an_upload_time_is_withheld() -> None:
    page = remote_page(remote_file("a-1.0.tar.gz", days=None, first_seen_ns=round((NOW - 8 * DAY) * 1e9)))
    frozen = PolicySettings(not_after=NOW + 30 * DAY)
    first_seen = replace(PUBLIC, unknown_age="first-seen")
    for settings, rule in ((WEEK, "min-age"), (frozen, "not-after")):
        assert names(Policy(settings).judge(PUBLIC, page, NOW)) == (set(), {"a-1.0.tar.gz": rule})
        assert names(Policy(settings).judge(first_seen, page, NOW)) == ({"a-1.0.tar.gz"}, {})
        assert names(Policy(settings).judge(replace(PUBLIC, min_age=0.0), page, NOW)) == ({"a-1.0.tar.gz"}, {})
    assert Policy(WEEK).judge(first_seen, page, NOW - 2 * DAY).withheld[0].until == NOW - DAY
    never = remote_page(remote_file("a-1.0.tar.gz", days=None))
    assert Policy(WEEK).judge(first_seen, never, NOW).files == ()


def test_nothing_later_than_a_moment_is_given_out() -> None:
    settings = PolicySettings(not_after=NOW - 3 * DAY)
    judged = Policy(settings).judge(PUBLIC, PAGE, NOW)
    assert names(judged)[1] == {YOUNG.filename: "not-after", YOUNG_SOURCE.filename: "not-after"}
    assert ({each.until for each in judged.withheld}, judged.changes_at) == ({None}, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("urllib3==2.7.0 until 2026-11-30 # fix", {YOUNG.filename, YOUNG_SOURCE.filename}),
        ("urllib3==2.7.0 always # fix", {YOUNG.filename, YOUNG_SOURCE.filename}),
        ("url* until 2026-12-31 # fix", {YOUNG.filename, YOUNG_SOURCE.filename, LATE.filename}),
        ("urllib3<2.7 always # fix", {LATE.filename}),
        ("urllib3==2.7.0 until 2026-11-29 # over", set()),
        ("urllib always # another project", set()),
    ],
)
def test_an_exception_lets_young_files_through_until_it_ends(lists: Write, line: str, expected: set[str]) -> None:
    frozen = PolicySettings(not_after=NOW - 9 * DAY)
    for settings in (WEEK, frozen):
        left, _ = names(Policy(lists(settings, allow=line)).judge(PUBLIC, PAGE, NOW))
        assert left == {OLD.filename} | expected


def test_a_page_changes_when_an_exception_ends(lists: Write) -> None:
    policy = Policy(lists(allow="urllib3==2.7.0 until 2026-12-01 # fix"))
    midnight = datetime(2026, 12, 2, tzinfo=timezone.utc).timestamp()
    assert policy.judge(PUBLIC, PAGE, NOW).changes_at == midnight
    assert YOUNG.filename in names(policy.judge(PUBLIC, PAGE, midnight - 1))[0]
    after = policy.judge(PUBLIC, PAGE, midnight)
    assert (YOUNG.filename in names(after)[0], after.since) == (False, midnight)


def test_a_denied_project_is_quarantined_with_the_reason(lists: Write) -> None:
    policy = Policy(lists(deny_projects="# first\nevil\nurllib3  # typo-squatted\n"))
    judged = policy.judge(PUBLIC, PAGE, NOW)
    assert (judged.files, judged.versions, judged.status.status) == ((), (), "quarantined")
    assert "typo-squatted" in judged.status.reason
    assert "line 3 of deny_projects.txt" in judged.status.reason
    assert policy.refusal_of(project("urllib3")) == Refusal("deny-projects", 3, judged.status.reason)
    refusal = policy.refusal_of(project("Evil"))
    assert refusal is not None
    assert (refusal.rule, refusal.line) == ("deny-projects", 2)
    assert policy.refusal_of(project("requests")) is None
    assert (policy.refusal(PUBLIC, OLD, NOW) or judged).rule == "deny-projects"  # type: ignore[union-attr]


def test_a_project_that_is_not_allowed_is_quarantined(lists: Write) -> None:
    policy = Policy(lists(allow_projects="requests\nacme-*\n"))
    assert policy.judge(PUBLIC, PAGE, NOW).status.status == "quarantined"
    assert (policy.refusal_of(project("urllib3")) or OLD).rule == "allow-projects"  # type: ignore[union-attr]
    assert policy.refusal_of(project("acme-sdk")) is None


def test_releases_are_denied_or_allowed_by_version(lists: Write) -> None:
    denied = Policy(lists(PolicySettings(), deny_projects="urllib3<2.7 # CVE\n")).judge(PUBLIC, PAGE, NOW)
    assert names(denied)[1] == {OLD.filename: "deny-projects", LATE.filename: "deny-projects"}
    assert (denied.versions, denied.status) == (("2.7.0",), ACTIVE)
    assert "CVE" in denied.withheld[0].reason
    allowed = Policy(lists(PolicySettings(), allow_projects="urllib3<2.7\n", deny_projects="")).judge(PUBLIC, PAGE, NOW)
    assert names(allowed)[1] == {YOUNG.filename: "allow-projects", YOUNG_SOURCE.filename: "allow-projects"}


def test_deny_wins(lists: Write) -> None:
    texts = {"allow": "* always # all", "allow_projects": "*\nurllib3\n"}
    whole = Policy(lists(**texts, deny_projects="urllib3\n")).judge(PUBLIC, PAGE, NOW)
    assert (whole.files, whole.status.status) == ((), "quarantined")
    left, withheld = names(Policy(lists(**texts, deny_projects="urllib3==2.7.*\n")).judge(PUBLIC, PAGE, NOW))
    assert left == {OLD.filename, LATE.filename}
    assert set(withheld.values()) == {"deny-projects"}


def test_a_version_that_cannot_be_read_is_denied_and_not_allowed(lists: Write) -> None:
    page = remote_page(remote_file("a-2.0-latest.tar.gz"), remote_file("a-3.0.tar.gz"))
    assert page.files[0].version == "2.0-latest"
    assert names(Policy(lists(deny_projects="a<1\n")).judge(PUBLIC, page, NOW))[0] == {"a-3.0.tar.gz"}
    policy = Policy(lists(allow_projects="a>0\n", deny_projects=""))
    assert names(policy.judge(PUBLIC, page, NOW))[0] == {"a-3.0.tar.gz"}


def test_kinds_of_files_are_withheld_with_their_rule() -> None:
    judged = Policy(PolicySettings()).judge(replace(PUBLIC, formats=("wheel",)), PAGE, NOW)
    assert names(judged)[1] == {YOUNG_SOURCE.filename: "formats"}
    # No exception is for these.
    assert judged.withheld[0].until is None


def test_a_project_that_its_index_quarantined_has_no_files() -> None:
    status = ProjectStatus("quarantined", "malware")
    judged = Policy(PolicySettings()).judge(PUBLIC, replace(PAGE, status=status), NOW)
    assert judged == Judged((), (), status)
    refusal = Policy(PolicySettings()).refusal(PUBLIC, OLD, NOW, status=status)
    assert refusal is not None
    assert (refusal.rule, "malware" in refusal.reason) == ("quarantined", True)


def test_a_refusal_says_from_when_and_how_to_ask_for_an_exception() -> None:
    policy = Policy(WEEK)
    policy.enforce(PUBLIC, OLD, NOW)
    with raises(Forbidden, kind="min-age", filename=YOUNG.filename, project="urllib3", status=403) as caught:
        policy.enforce(PUBLIC, YOUNG, NOW)
    said = caught.value.public
    for word in (
        "urllib3 2.7.0",
        "2026-11-29",
        "7 days",
        "2026-12-06 12:00 UTC",
        "rule min-age",
        "urllib3==2.7.0 --for",
    ):
        assert word in said
    assert said.startswith(caught.value.reason)


def test_a_file_is_not_younger_than_the_clock_says() -> None:
    """A clock that is set back withholds again what is too young again, on pages and at addresses alike."""
    policy = Policy(WEEK)
    later = NOW + 6 * DAY
    judged = policy.judge(PUBLIC, PAGE, later)
    assert len(judged.files) == 4
    assert judged.holds(later)
    assert not judged.holds(NOW)
    assert policy.refusal(PUBLIC, YOUNG, later) is None
    assert policy.refusal(PUBLIC, YOUNG, NOW) is not None


def test_a_list_that_cannot_be_read_is_an_outage(tmp_path: Path) -> None:
    for name in ("allow", "allow_projects", "deny_projects"):
        policy = Policy(replace(WEEK, **{name: tmp_path / "none"}))
        calls: list[Callable[[], object]] = [
            policy.mark,
            lambda policy=policy: policy.judge(PUBLIC, PAGE, NOW),  # type: ignore[misc]
            lambda policy=policy: policy.refusal(PUBLIC, OLD, NOW),  # type: ignore[misc]
            lambda policy=policy: policy.refusal_of(project("a")),  # type: ignore[misc]
        ]
        for call in calls:
            with raises(Unavailable, kind="list"):
                call()
        assert policy.known_mark() is None


def test_the_mark_changes_with_lists_and_settings(lists: Write, tmp_path: Path) -> None:
    clock = count(step=10.0)
    settings = lists(deny_projects="a\n", allow="")

    def ticking() -> float:
        return float(next(clock))

    policy = Policy(settings, clock=ticking, wall=lambda: 9e9)
    marks = [policy.mark(), policy.mark()]
    for text in ("b\n", "a\n"):
        (tmp_path / "deny_projects.txt").write_text(text)
        marks.append(policy.mark())
    assert marks[0] == marks[1] == marks[3] != marks[2]
    assert policy.judge(PUBLIC, PAGE, NOW).files == (OLD,)
    assert Policy(replace(settings, min_age=1.0)).mark() != marks[0]
    assert Policy(WEEK).known_mark() == Policy(WEEK).mark()


def test_a_change_of_a_list_counts(lists: Write, tmp_path: Path) -> None:
    clock = count(step=10.0)
    policy = Policy(lists(deny_projects=""), clock=lambda: float(next(clock)), wall=lambda: 9e9)
    assert policy.judge(PUBLIC, PAGE, NOW).status == ACTIVE
    (tmp_path / "deny_projects.txt").write_text("urllib3")
    assert policy.judge(PUBLIC, PAGE, NOW).status.status == "quarantined"
    assert policy.refusal(PUBLIC, OLD, NOW) is not None


# Anything that can be said about a file, an index and the rules, with few values so that they meet.
_DAYS = st.none() | st.sampled_from([-1.0, 0.0, 6.999, 7.0, 7.001, 30.0])
_FILES = st.builds(
    lambda version, days, seen: remote_file(
        f"a-{version}.tar.gz", days=days, first_seen_ns=round((NOW - seen * DAY) * 1e9)
    ),
    st.sampled_from(["1.0", "2.0", "2.0-latest"]),
    _DAYS,
    st.sampled_from([0.0, 8.0]),
)
_UPSTREAMS = st.builds(
    lambda min_age, unknown: replace(PUBLIC, min_age=min_age, unknown_age=unknown),
    st.sampled_from([None, 0.0, 3 * DAY]),
    st.sampled_from(["withhold", "first-seen"]),
)
_SETTINGS = st.builds(
    PolicySettings,
    st.sampled_from([0.0, 7 * DAY]),
    st.sampled_from([None, NOW - 10 * DAY]),
)
_EXCEPTIONS = st.sampled_from(["", "a==2.0 until 2026-12-01 # why", "a<2 always # why", "b always # why"])
_DENIED = st.sampled_from(["", "a<2", "a", "b"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("lists")


@pytest.fixture(scope="module")
def made(folder: Path) -> Callable[[PolicySettings, str, str], Policy]:
    known: dict[tuple[PolicySettings, str, str], Policy] = {}

    def policy(settings: PolicySettings, allow: str, deny: str) -> Policy:
        if (settings, allow, deny) not in known:
            allowed, denied = folder / f"{len(known)}.allow", folder / f"{len(known)}.deny"
            allowed.write_text(allow)
            denied.write_text(deny)
            known[settings, allow, deny] = Policy(replace(settings, allow=allowed, deny_projects=denied))
        return known[settings, allow, deny]

    return policy


@given(
    files=st.lists(_FILES, min_size=1, max_size=4), upstream=_UPSTREAMS, settings=_SETTINGS, allow=_EXCEPTIONS,
    deny=_DENIED, days=st.floats(-2, 12),
)  # fmt: skip
def test_every_decision_agrees_and_nothing_young_is_given_out(
    made: Callable[[PolicySettings, str, str], Policy],
    files: list[RemoteFile],
    upstream: Upstream,
    settings: PolicySettings,
    allow: str,
    deny: str,
    days: float,
) -> None:
    policy, now = made(settings, allow, deny), NOW + days * DAY
    page = remote_page(*files)
    judged = policy.judge(upstream, page, now)
    # A page and an address say the same.
    assert set(judged.files) == {file for file in files if policy.refusal(upstream, file, now) is None}
    assert set(judged.versions) == {file.version for file in judged.files}
    # Nothing denied, and nothing young without an exception that counts at this moment.
    min_age = settings.min_age if upstream.min_age is None else upstream.min_age
    for file in judged.files:
        assert deny != "a"
        assert deny != "a<2" or file.version == "2.0"
        excepted = file.version == "2.0" and "==2.0" in allow and now < NOW + 1.5 * DAY
        excepted = excepted or (file.version == "1.0" and "a<2" in allow)
        seen = file.first_seen_ns if upstream.unknown_age == "first-seen" else None
        when = file.uploaded_ns if file.uploaded_ns is not None else seen
        if not excepted and upstream.min_age != 0.0 and (min_age or settings.not_after):
            assert when is not None
        if not excepted and when is not None:
            assert not min_age or when / 1e9 + min_age <= now
            assert settings.not_after is None or when / 1e9 <= settings.not_after
    # It holds as long as it says, in both directions of the clock.
    for when in (judged.since, judged.changes_at and judged.changes_at - 1e-3):
        if when is not None:
            other = policy.judge(upstream, page, when)
            assert (other.files, other.since, other.changes_at) == (judged.files, judged.since, judged.changes_at)


@given(
    upstream=_UPSTREAMS, settings=_SETTINGS, allow=st.sampled_from(["", "a<2 always # why"]), deny=_DENIED,
    ages=st.lists(st.floats(-5, 50), min_size=2, max_size=5, unique=True),
)  # fmt: skip
def test_an_older_file_is_given_out_wherever_a_younger_one_is(
    made: Callable[[PolicySettings, str, str], Policy],
    upstream: Upstream,
    settings: PolicySettings,
    allow: str,
    deny: str,
    ages: list[float],
) -> None:
    policy = made(settings, allow, deny)
    files = [remote_file("a-2.0.tar.gz", days=days) for days in sorted(ages)]
    out = [policy.refusal(upstream, file, NOW) is None for file in files]
    assert all(not younger or older for younger, older in pairwise(out))
    # And what is given out stays so as time passes.
    for file in files:
        later = [policy.refusal(upstream, file, NOW + days * DAY) is None for days in (0, 1, 8, 60)]
        assert all(not before or after for before, after in pairwise(later))
