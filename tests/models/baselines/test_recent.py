"""What was bought lately, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.config import override
from ancf_jax.errors import UserError
from ancf_jax.models.baselines.recent import RecentPopularity
from ancf_jax.models.registry import build, default_config
from ancf_jax.types import Sizes

SIZES = Sizes(3, 7, 1, (), ())
DAY = 24 * 60


@pytest.fixture
def log(log_of):
    """Events of three users, up to eight days before the newest one."""
    log = log_of([[[2], [2], [5]], [[5], [4]], [[0], [4]]])
    days_ago = [8, 7, 1, 6.999, 0, 3.5, 0]
    minute = 28_400_000 - np.round(np.array(days_ago) * DAY)
    return log._replace(minute=minute.astype(np.int32))


@pytest.mark.parametrize(
    ("weeks", "recent"),
    [
        (1.0, [1, 0, 0, 0, 2, 2, 0]),
        (0.5, [0, 0, 0, 0, 2, 1, 0]),
        (4.0, [1, 0, 2, 0, 2, 2, 0]),
    ],
)
def test_events_of_the_last_weeks_count(log, fitted, scores, weeks, recent):
    model = RecentPopularity(SIZES, weeks)
    found = scores(model, fitted(model, log), log, [1, -1])
    share = np.array([1, 0, 2, 0, 2, 2, 0]) / 8  # of all 7 events, plus 1
    np.testing.assert_allclose(found, [np.array(recent) + share] * 2, rtol=1e-6)


def test_equally_recent_items_stand_by_their_overall_share(log, fitted, scores):
    model = RecentPopularity(SIZES, 0.99)
    found = scores(model, fitted(model, log), log, [0])[0]
    assert np.argsort(-found, kind="stable").tolist() == [4, 5, 0, 2, 1, 3, 6]


def test_the_settings_reach_the_model():
    config = override(default_config("recent_popularity"), {"network.weeks": 2.5})
    model = build(config, SIZES, clock=True)
    assert isinstance(model, RecentPopularity)
    assert model.weeks == 2.5


def test_data_without_a_clock_is_refused():
    config = default_config("recent_popularity")
    with pytest.raises(
        UserError, match=r"has only an order; choose --model popularity"
    ):
        build(config, SIZES, clock=False)
