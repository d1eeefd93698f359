"""The table after training."""

from __future__ import annotations

import pytest

from ancf_jax.data import TEST, known_parts
from ancf_jax.report import report_on_test
from ancf_jax.runs import load
from ancf_jax.training.fit import fit


@pytest.mark.parametrize(
    ("keep_seen", "beside"),
    [(True, ["popularity", "most_bought"]), (False, ["popularity"])],
)
def test_where_repeats_are_kept_what_each_bought_most_stands_beside(
    tiny, tmp_path, keep_seen, beside
):
    """Beside popularity alone every model flatters there."""
    config = tiny("ease", keep_seen=keep_seen, run=str(tmp_path / "run"))
    fit(config)
    rows, title = report_on_test(load(config.run, known_parts(TEST)))
    assert [row["model"] for row in rows] == [*beside, "ease"]
    fate = "kept in" if keep_seen else "left out of"
    assert f"items already had are {fate} the ranking" in title


def test_the_title_says_how_many_users_the_figures_are_means_over(tiny, tmp_path):
    """Of 13 users those count whose last event is of an item that is new to them."""
    config = tiny("popularity", run=str(tmp_path / "run"))
    fit(config)
    run = load(config.run, known_parts(TEST))
    source = run.dataset.interactions
    is_test = run.dataset.part == TEST
    had = set(zip(source.user[~is_test], source.item[~is_test], strict=True))
    tested = zip(source.user[is_test], source.item[is_test], strict=True)
    new = sum(pair not in had for pair in tested)
    assert 0 < new < 13
    assert f", {new} of 13 users, full ranking" in report_on_test(run)[1]
