#!/usr/bin/env python3
"""junit.py totals FILE: prints how many tests passed, failed and were left out.
junit.py failures FILE: prints the name of each failed test and what it said."""

import sys
import xml.etree.ElementTree as ElementTree

MOST_OF_A_MESSAGE = 4000  # characters


def totals(root):
    passed = failed = left_out = 0
    for suite in root.iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        skipped = int(suite.get("skipped"))
        failed += bad
        left_out += skipped
        passed += int(suite.get("tests")) - bad - skipped
    print(passed, failed, left_out)


def failures(root):
    for case in root.iter("testcase"):
        for outcome in [*case.findall("failure"), *case.findall("error")]:
            print(f"{case.get('classname')}::{case.get('name')}")
            print(outcome.get("message", "")[:MOST_OF_A_MESSAGE])


if __name__ == "__main__":
    {"totals": totals, "failures": failures}[sys.argv[1]](ElementTree.parse(sys.argv[2]).getroot())
