"""The page of third-party families: made of test results, and complete."""

from __future__ import annotations

import re

import families

REPORT = """<testsuites><testsuite>
<testcase name="test_it_keeps_the_contract_of_its_interface[atari/breakout]"><properties>
<property name="package" value="ale-py 1.0"/></properties></testcase>
<testcase name="test_it_keeps_the_contract_of_its_interface[atari/pong]"><failure/></testcase>
<testcase name="test_two_workers_repeat_what_one_process_does[atari/breakout]"><properties>
<property name="unrepeatable" value="it is not seeded"/></properties></testcase>
<testcase name="test_it_is_silent_and_leaves_no_files[atari]"/>
<testcase name="test_it_keeps_the_contract_of_its_interface[box2d/LunarLander-v3]"><skipped/>
</testcase>
<testcase name="test_each_family_is_tested"/>
</testsuite></testsuites>"""


def test_a_report_becomes_a_row_for_each_family(monkeypatch):
    told = families.parse(REPORT)
    assert told["atari"].package == "ale-py 1.0"
    assert told["atari"].tried == ["breakout", "pong"]
    assert told["box2d"].tried == []
    monkeypatch.setattr(families, "registered", lambda: {"atari": 104, "box2d": 5})
    atari, box2d = families.rows([{}, told])
    assert atari == (
        "| `atari` | 104 | `breakout`, `pong` | ale-py 1.0 | 1 of 2 | 1 of 1; it is not seeded "
        "| 1 of 1 |\n"
    )
    assert box2d == "| `box2d` | 5 | none: the package was absent |  |  |  |  |\n"


def test_the_page_lists_what_is_registered():
    listed = re.findall(r"^\| `([\w-]+)` \| (\d+) \|", families.PAGE.read_text("utf-8"), re.M)
    registered = families.registered()
    assert listed
    assert {name: int(ids) for name, ids in listed} == {n: registered[n] for n, _ in listed}
