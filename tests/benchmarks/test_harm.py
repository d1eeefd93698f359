"""What the programs that do harm share."""

from __future__ import annotations

from collections import Counter

import pytest

from ancf_jax import data
from benchmarks.harm import ITEMS, USERS, leave, show_outcomes, small_config, write_shop


def test_only_bad_outcomes_are_counted_as_wrong(capsys):
    outcomes = Counter({("csv", "sentence"): 1_002, ("csv", "hang"): 2})
    outcomes["folder", "traceback"] = 3
    assert show_outcomes("a title", outcomes, ("hang", "traceback")) == 5
    assert capsys.readouterr().out.splitlines() == [
        "a title",
        "| harmed | hang | sentence | traceback |",
        "| --- | --- | --- | --- |",
        "| csv | 2 | 1,002 | 0 |",
        "| folder | 0 | 0 | 3 |",
        "1,007 in all, 5 wrong (hang, traceback)",
    ]


@pytest.mark.parametrize(("wrong", "code"), [(0, 0), (5, 1)])
def test_the_exit_code_tells_whether_something_was_wrong(wrong, code):
    with pytest.raises(SystemExit) as left:
        leave(wrong)
    assert left.value.code == code


def test_the_shop_is_the_same_each_time_and_can_be_read(tmp_path):
    for name in ("a", "b"):
        write_shop(tmp_path / name)
    for file in ("interactions.csv", "items.csv"):
        texts = [(tmp_path / name / file).read_bytes() for name in ("a", "b")]
        assert texts[0] == texts[1]
    config = small_config("mf", tmp_path / "a", tmp_path / "run", loop__batch_size=3)
    assert config.loop.batch_size == 3
    log = data.build(config).interactions
    assert len(log.users) == USERS
    assert len(log.items) == ITEMS
    assert len(log.user) == sum(5 + user % 7 for user in range(USERS))
