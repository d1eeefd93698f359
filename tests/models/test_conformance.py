"""What every model promises, whatever it is; a newly registered name is tested without a change here."""

from __future__ import annotations

from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import request_after_log
from ancf_jax.batching.windows import pack_windows
from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config
from ancf_jax.data import TEST, VALIDATION
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.models.registry import names
from ancf_jax.prepared import prepare
from ancf_jax.ranking import ranker_of
from ancf_jax.runs import load
from ancf_jax.training.loop import trainer
from ancf_jax.view import SILENT

USERS, ITEMS, EPOCHS, BATCH = 13, 23, 8, 8
ANCF = {
    "ancf-candidate": "candidate",
    "ancf-none": "none",
    "ancf-bag": "bag",
}  # the other histories of the flagship
CASES = [*names(), *ANCF]


class Trained:
    """One model after a few epochs on the planted shop, and its scores by one compiled function."""

    def __init__(self, config: Config):
        self.config = config
        self.dataset = data.build(config)
        parts = data.known_parts(VALIDATION)
        self.prepared = prepare(config, self.dataset, parts)
        self.log = jax.device_put(self.prepared.log)
        self.catalogue = jax.device_put(self.prepared.catalogue)
        self.model = self.prepared.model
        self.length = (
            self.model.history_length if isinstance(self.model, NeuralModel) else 1
        )
        self.losses: list[float] = []
        self.state = (
            self._learn() if isinstance(self.model, NeuralModel) else self._fit()
        )

    def _learn(self):
        made = trainer(self.prepared)
        state = made.initial_state()
        for epoch in range(EPOCHS):
            for reached, step in made.epoch(state, epoch):
                state, loss = reached, step.loss
            self.losses.append(loss)
        return state

    def _fit(self):
        found = self.model.fit(
            jax.device_get(self.log), jax.device_get(self.catalogue), self.config.seed
        )
        return {"params": found["params"], "batch_stats": {}}

    @property
    def variables(self):
        if isinstance(self.state, dict):
            return self.state
        return jax.device_get(
            {"params": self.state.params, "batch_stats": self.state.batch_stats}
        )

    @cached_property
    def compiled(self):
        def scores(variables, user, minute, items):
            request = request_after_log(self.log, user, minute, self.length)
            users = self.model.encode_users(
                variables, self.log, self.catalogue, request
            )
            return self.model.score(
                variables,
                users,
                self.model.encode_items(variables, self.catalogue, items),
            )

        return jax.jit(scores)

    def scores(self, user, items) -> np.ndarray:
        """Scores of items [C] or [B, C] for users [B], at moments that differ from row to row."""
        user = np.asarray(user, np.int32)
        minute = (28_400_000 + 401 * (user + 1)).astype(np.int32)
        return np.asarray(
            self.compiled(self.variables, user, minute, np.asarray(items, np.int32))
        )


@pytest.fixture(scope="module", params=CASES)
def trained(request, tiny) -> Trained:
    if request.param in ANCF:
        return Trained(
            tiny(
                "ancf",
                network__history=ANCF[request.param],
                epochs=EPOCHS,
                loop__batch_size=BATCH,
            )
        )
    return Trained(tiny(request.param, epochs=EPOCHS, loop__batch_size=BATCH))


@pytest.fixture(scope="module")
def whole(trained) -> np.ndarray:
    """Scores of all items for all users and, in the last row, for an unknown one."""
    return trained.scores([*range(USERS), -1], np.arange(ITEMS))


def test_the_loss_falls(trained):
    if isinstance(trained.model, NeuralModel):
        assert np.isfinite(trained.losses).all()
        assert trained.losses[-1] < 0.95 * trained.losses[0]
        assert int(trained.state.step) == EPOCHS * trained_steps(trained)
    else:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.state))


def trained_steps(trained: Trained) -> int:
    """Steps of one epoch: every training event (or packed row of 5) once."""
    events = np.bincount(trained.dataset.interactions.user[trained.dataset.part == 0])
    examples = (
        events.sum()
        if trained.model.unit == "event"
        else len(pack_windows(np.cumsum([0, *events]), 5))
    )
    return -(-int(examples) // BATCH)


def test_known_items_score_finitely(whole):
    assert whole.shape == (USERS + 1, ITEMS)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert len(np.unique(whole[:USERS])) > 1  # a constant would pass all that follows


def test_candidates_do_not_influence_each_other(trained, whole):
    users = [*range(USERS), -1]
    order = np.random.default_rng(0).permutation(ITEMS)
    np.testing.assert_allclose(
        trained.scores(users, order), whole[:, order], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        trained.scores(users, [17, 3, 3]), whole[:, [17, 3, 3]], rtol=1e-5, atol=1e-5
    )
    own = np.random.default_rng(1).integers(0, ITEMS, (USERS + 1, 3))
    expected = np.take_along_axis(whole, own, axis=1)
    np.testing.assert_allclose(
        trained.scores(users, own), expected, rtol=1e-5, atol=1e-5
    )


def test_a_batch_equals_its_users_alone(trained, whole):
    alone = [
        trained.scores([user], np.arange(ITEMS))[0] for user in (*range(USERS), -1)
    ]
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-5)


def test_an_unknown_user_is_nobody_else(trained, whole):
    """Rows of user tables may be spoiled at will: the scores of user -1 do not move."""

    def spoiled(leaf):
        return leaf + 7.0 if leaf.ndim and leaf.shape[0] == USERS else leaf

    variables = jax.tree.map(spoiled, trained.variables)
    found = trained.compiled(
        variables,
        np.array([-1, 2], np.int32),
        np.full(2, 28_400_000, np.int32),
        np.arange(ITEMS, dtype=np.int32),
    )
    np.testing.assert_allclose(found[0], whole[-1], rtol=1e-5, atol=1e-5)
    if any(
        leaf.ndim and leaf.shape[0] == USERS
        for leaf in jax.tree.leaves(trained.variables)
    ):
        assert (
            np.abs(found[1] - whole[2]).max() > 1e-3
        )  # known users do move, so the test can fail


def test_save_and_restore_give_the_same_scores(trained, tmp_path):
    saved = (
        trained.state
        if isinstance(trained.state, dict)
        else trained.state._replace(step=jnp.int32(9))
    )
    with RunFolder.create(
        tmp_path / "run", trained.config, resume=False, view=SILENT
    ) as run:
        run.data_digest = trained.dataset.interactions.digest
        data.save(trained.dataset, run.path / "dataset")
        run.save(4, saved, {}, 0.5, {}, final=True)
    opened = load(tmp_path / "run", data.known_parts(TEST))
    assert opened.epoch == 4
    assert opened.config == trained.config
    jax.tree.map(
        np.testing.assert_array_equal, opened.ranker.variables, trained.variables
    )
    known = prepare(trained.config, trained.dataset, data.known_parts(TEST))
    straight = ranker_of(known, trained.variables)
    user, minute = (
        np.arange(-1, USERS, dtype=np.int32),
        np.full(USERS + 1, 28_400_000, np.int32),
    )
    items = np.tile(np.arange(ITEMS, dtype=np.int32), (USERS + 1, 1))
    score = partial(straight.candidate_scores, user, minute, items)
    np.testing.assert_array_equal(
        opened.ranker.candidate_scores(user, minute, items), score()
    )
