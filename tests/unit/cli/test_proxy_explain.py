"""What is explained of releases: the rule, the line and the date, from a fake of the indexes."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from pypiserver.cli import proxy_explain
from pypiserver.cli.lock_files import Pin, Pins
from pypiserver.errors import NotFound, Unavailable
from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.values import Offered
from pypiserver.upstream.values import RemotePage, Upstream
from tests.unit.proxy.remote import DAY, NOW, PUBLIC, project, remote_file, remote_page

OLD = remote_file("urllib3-2.6.0-py3-none-any.whl", days=40)
YOUNG = remote_file("urllib3-2.7.0-py3-none-any.whl", days=1)
YOUNG_SOURCE = remote_file("urllib3-2.7.0.tar.gz", days=2)
LATE = remote_file("urllib3-2.6.0-cp314-cp314-win32.whl", days=3)


@dataclass
class FakeIndex:
    """Pages by project, judged by a policy."""

    policy: Policy
    pages: dict[str, RemotePage]
    upstream: Upstream = PUBLIC
    asked: list[str] = field(default_factory=list)

    def project(self, name: NormalizedName, *, revalidate: bool = False) -> Offered:
        self.asked.append(name)
        if name == "down":
            raise Unavailable("The index public does not answer.")
        if name not in self.pages:
            raise NotFound("No such project.", project=name)
        page = self.pages[name]
        return Offered(page, self.upstream, self.policy.judge(self.upstream, page, NOW), "mark")


@pytest.fixture
def index(tmp_path: Path) -> FakeIndex:
    (tmp_path / "allow").write_text("idna==3.9 until 2026-12-02 # hotfix\n")
    (tmp_path / "deny").write_text("# first\nevil # malware\nurllib3==2.5 # CVE\n")
    policy = Policy(PolicySettings(7 * DAY, allow=tmp_path / "allow", deny_projects=tmp_path / "deny"))
    old = remote_file("urllib3-2.5.tar.gz")
    pages = [
        remote_page(old, OLD, LATE, YOUNG, YOUNG_SOURCE),
        remote_page(remote_file("idna-3.9.tar.gz", days=1)),
        remote_page(remote_file("six-1.0.tar.gz")),
    ]
    return FakeIndex(policy, {page.project: page for page in pages})


def explained(index: FakeIndex, *pins: Pin) -> dict[str, proxy_explain.Explained]:
    server = proxy_explain.Server(index, index.policy, lambda name: name == "ours")
    return {str(each.pin): each for each in proxy_explain.explain(pins, server, now=NOW)}


def pin(name: str, version: str = "", *files: str) -> Pin:
    return Pin(project(name), version, frozenset(files))


def test_each_release_with_its_rule_and_date(index: FakeIndex) -> None:
    here = [pin("urllib3", version) for version in ("2.7", "2.6.0", "2.5.0")] + [pin("idna", "3.9"), pin("six", "1.0")]
    others = [pin("evil"), pin("six", "2.0"), pin("none"), pin("down"), pin("ours")]
    found = explained(index, *here, *others)
    assert {name: (each.state, each.is_refused) for name, each in found.items()} == {
        "urllib3 2.7": ("refused", True),
        "urllib3 2.6.0": ("partly", True),
        "urllib3 2.5.0": ("refused", True),
        "idna 3.9": ("given-out", False),
        "six 1.0": ("given-out", False),
        "evil": ("refused", True),
        "six 2.0": ("absent", False),
        "none": ("absent", False),
        "down": ("unknown", False),
        "ours": ("own", False),
    }
    denied = found["urllib3 2.5.0"].withheld[0]
    assert (denied.rule, denied.line) == ("deny-projects", 3)
    assert [line.number for line in found["idna 3.9"].exceptions] == [1]
    # Of a denied project no index is asked, and of our own none either.
    assert not {"evil", "ours"} & set(index.asked)


def test_a_lock_is_about_its_own_files(index: FakeIndex) -> None:
    assert explained(index, pin("urllib3", "2.6.0", OLD.filename))["urllib3 2.6.0"].state == "given-out"
    assert explained(index, pin("urllib3", "2.6.0", OLD.filename, LATE.filename))["urllib3 2.6.0"].state == "partly"
    assert explained(index, pin("urllib3", "2.6.0", "gone-1.whl"))["urllib3 2.6.0"].state == "absent"


def test_kinds_that_are_not_given_out_fail_no_build_that_has_others(index: FakeIndex) -> None:
    index.upstream = replace(PUBLIC, min_age=0.0, formats=("wheel",))
    found = explained(index, pin("urllib3", "2.7.0"), pin("six", "1.0"))
    assert [(each.state, each.is_refused) for each in found.values()] == [("partly", False), ("refused", True)]


def test_people_and_programs_are_told(index: FakeIndex) -> None:
    pins = Pins((pin("urllib3", "2.7.0"), pin("idna", "3.9"), pin("six", "1.0")), ("the name '../x'",))
    found = list(proxy_explain.explain(pins.pins, proxy_explain.Server(index, index.policy), now=NOW))
    out = io.StringIO()
    proxy_explain.tell(found, pins, out)
    lines = out.getvalue().splitlines()
    assert lines[0] == "refused  urllib3 2.7.0, 2 of 2 files"
    assert "2026-12-06 12:00 UTC" in lines[1] + lines[2]
    assert lines[3].startswith("excepted  idna 3.9")
    assert "2026-12-02" in lines[3]
    assert lines[-2:] == ["not read  the name '../x'", "3 releases: 1 refused, 2 given out, 1 not read"]
    out = io.StringIO()
    proxy_explain.tell_json(found, pins, out)
    report = json.loads(out.getvalue())
    first, second, _ = report["releases"]
    assert (first["state"], first["files"], report["unread"]) == ("refused", [], ["the name '../x'"])
    assert {row["filename"]: (row["rule"], row["until"], row["line"]) for row in first["withheld"]} == {
        YOUNG.filename: ("min-age", "2026-12-06T12:00:00Z", None),
        YOUNG_SOURCE.filename: ("min-age", "2026-12-05T12:00:00Z", None),
    }
    assert second["exceptions"] == [{"line": 1, "text": "idna==3.9", "reason": "hotfix", "until": "2026-12-02"}]
