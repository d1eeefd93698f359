"""How far a run is: which epoch is chosen, beside an untrained model judged on a sample."""

from __future__ import annotations

import math

from ancf_jax.training.standing import Standing


def after(*scores: tuple[float, float]) -> Standing:
    """The standing after epochs with these scores on all users and on the sample."""
    standing = Standing()
    for score, of_sample in scores:
        standing = standing.after(score, of_sample)
    return standing


def test_the_first_epoch_is_chosen_by_the_sample_on_which_the_untrained_model_was_judged():
    untrained = (0.30, 0.30)
    worse = after(untrained, (0.35, 0.29))
    assert not worse.has_best
    assert worse.score == 0.30
    assert worse.epochs_since_best == 1
    better = after(untrained, (0.25, 0.31))
    assert better.best_score == better.score == 0.25
    assert better.epochs_since_best == 0


def test_later_epochs_are_chosen_by_all_users():
    begin = [(0.30, 0.30), (0.25, 0.31)]
    assert after(*begin, (0.26, 0.0)).best_score == 0.26
    assert after(*begin, (0.24, 0.9)).best_score == 0.25


def test_an_untrained_model_without_a_figure_is_below_every_epoch_with_one():
    assert after((math.nan, math.nan), (0.1, 0.1)).best_score == 0.1
    assert not after((math.nan, math.nan), (math.nan, math.nan)).has_best


def test_epochs_that_are_no_better_are_recorded_below_the_untrained_model():
    untrained = after((0.3, 0.3))
    worse = after((0.3, 0.3), (0.9, 0.2))
    better = after((-5.0, -5.0), (-4.0, -4.0))
    recorded = [worse.recorded(0.9), untrained.recorded(0.3), better.recorded(-4.0)]
    assert recorded == sorted(recorded)
    assert len(set(recorded)) == 3
