"""Every row of the table of faults has a test that is named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parent
ROWS = range(1, 34)


def names_of_tests() -> list[str]:
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in FOLDER.glob("test_*.py")
    ]
    return [
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]


def test_every_row_has_a_test():
    found = [re.match(r"test_row_(\d\d)_", name) for name in names_of_tests()]
    assert {int(row[1]) for row in found if row} == set(ROWS)


def test_the_table_says_what_each_row_is():
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [
        *ROWS
    ]
