"""A model that cannot fit in memory is refused before anything is made."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import pytest

from ancf_jax import data
from ancf_jax.config import Config
from ancf_jax.data import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.training import footprint
from ancf_jax.training.fit import fit
from ancf_jax.training.footprint import require_memory, state_bytes
from ancf_jax.training.loop import trainer

HUGE = 100_000_000


def prepared_of(config: Config) -> Prepared:
    return prepare(config, data.build(config), data.known_parts(VALIDATION))


def test_the_estimate_of_matrix_factorisation_by_hand(tiny):
    """13 users and 23 items of width 5, once for each of parameters, means and squares of AdamW."""
    size = state_bytes(prepared_of(tiny("mf", optim__optimizer="adamw")))
    tables = 3 * 4 * 5 * (13 + 23)
    assert tables <= size <= tables + 3 * 4 * (13 + 23 + 1) + 64


@pytest.mark.parametrize("model", ["mf", "neumf", "ancf", "engagement"])
def test_the_estimate_is_that_of_the_state_that_is_trained(tiny, model):
    prepared = prepared_of(tiny(model))
    shapes = trainer(prepared).shapes
    state = (shapes.params, shapes.batch_stats, shapes.opt_state)
    leaves = jax.tree.leaves(state)
    assert state_bytes(prepared) == sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves
    )


@pytest.mark.parametrize(
    ("model", "changes", "flag"),
    [
        ("mf", {"network__embedding_size": HUGE}, "--network.embedding-size"),
        ("ancf", {"network__embedding_size": HUGE}, "--network.embedding-size"),
        ("ancf", {"network__mlp_size": HUGE}, "--network.mlp-size"),
        ("ancf", {"network__hidden": (HUGE, HUGE)}, "--network.hidden"),
        ("mf", {"loop__members": HUGE}, "--loop.members"),
        ("neumf", {"network__embedding_size": 10**30}, "--network.embedding-size"),
        ("ials", {"network__size": HUGE}, "--network.size"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_flag_to_lower(
    tiny, tmp_path, model, changes, flag
):
    run = tmp_path / "run"
    with pytest.raises(UserError) as refused:
        fit(tiny(model, run=str(run), **changes))
    message = str(refused.value)
    assert message.startswith("the parameters and the optimiser's state take ")
    assert " GB, expected at most the " in message
    assert message.endswith(f" GB that a device can hold; lower {flag}")
    assert not run.exists()


def test_where_no_setting_is_raised_less_data_is_the_remedy(tiny, monkeypatch):
    monkeypatch.setattr(footprint, "memory_of_device", lambda: 1000.0)
    config = tiny("popularity")
    require_memory(prepared_of(config))  # 23 counts
    monkeypatch.setattr(footprint, "memory_of_device", lambda: 23.0)
    with pytest.raises(UserError, match=r"raise --split\.min-user-events"):
        require_memory(prepared_of(config))


def test_divided_tables_need_all_devices_together(tiny, monkeypatch):
    config = tiny("mf", loop__tables="divided")
    size = state_bytes(prepared_of(config))
    monkeypatch.setattr(footprint, "memory_of_device", lambda: size / 3)
    assert jax.device_count() == 4
    require_memory(prepared_of(config))
    with pytest.raises(UserError, match=r"lower --network|raise --split"):
        require_memory(prepared_of(tiny("mf", loop__tables="dense")))


def test_the_folder_of_an_earlier_run_stays(tiny, tmp_path):
    config = tiny("mf", epochs=0, run=str(tmp_path / "run"))
    fit(config)
    before = (Path(config.run) / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"lower --network\.embedding-size"):
        fit(tiny("mf", run=config.run, network__embedding_size=HUGE), resume=True)
    assert (Path(config.run) / "config.json").read_bytes() == before
