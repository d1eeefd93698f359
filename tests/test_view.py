"""Views: a plain function does wherever one is taken."""

from __future__ import annotations

from typing import Any

import pytest

from ancf_jax import PRINTED, evaluate, load, load_recommender
from ancf_jax.errors import UserError
from ancf_jax.training.fit import fit
from ancf_jax.view import view_of


def test_a_function_of_a_text_does_wherever_a_view_is_taken(tiny, tmp_path):
    said: list[str] = []
    config = tiny("popularity", run=str(tmp_path / "run"))
    fit(config, False, said.append)
    assert any("events" in line for line in said)
    opened = load(config.run, view=print)
    evaluate(opened.ranker, opened.dataset, view=print)
    recommender = load_recommender(config.run, print)
    users = recommender.users_of(["all"])
    blocks = recommender.recommend_blocks(users, 3, None, None, print)
    assert sum(len(block) for block in blocks) > 0


def test_messages_reach_the_function_and_standard_output(capsys):
    said: list[str] = []
    for view in (view_of(said.append), PRINTED):
        view.say("seven rows")
        view.progress("reading", 1, 7)
    assert said == ["seven rows"]
    assert capsys.readouterr().out == "seven rows\n"


def test_a_view_stays_what_it_is():
    assert view_of(PRINTED) is PRINTED


def test_what_is_neither_is_refused(tiny, tmp_path):
    config = tiny("popularity", run=str(tmp_path / "run"))
    three: Any = 3
    with pytest.raises(UserError, match="the view is 3, expected PRINTED"):
        fit(config, False, three)
    assert not (tmp_path / "run").exists()
