"""RecBole's own NeuMF: its loader with negative sampling, its trainer, its evaluation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import NeuMF
from recbole.trainer import Trainer

SETTINGS = {
    "mf_embedding_size": 32,
    "mlp_embedding_size": 32,
    "mlp_hidden_size": [64, 32, 16],
    "dropout_prob": 0.0,
    "train_neg_sample_args": {
        "distribution": "uniform",
        "sample_num": 4,
        "dynamic": False,
        "alpha": 1.0,
    },
    "learning_rate": 0.002,
    "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id", "item_id"]},
    "use_gpu": False,
    "show_progress": False,
    "reproducibility": False,
}


def atomic_files(shop: Any, folder: Path) -> None:
    """The events as RecBole reads them; it needs a validation part, which holds one event."""
    parts = {
        "train": (shop["user"], shop["item"]),
        "valid": ([0], [0]),
        "test": (np.arange(int(shop["users"])), shop["test"]),
    }
    for name, (user, item) in parts.items():
        rows = np.column_stack([user, item])
        path = folder / f"shop.{name}.inter"
        np.savetxt(
            path,
            rows,
            fmt="%d",
            delimiter="\t",
            header="user_id:token\titem_id:token",
            comments="",
        )


def _loaded(options: dict[str, str]) -> tuple[Trainer, Any, Any]:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "shop").mkdir()
        atomic_files(np.load(options["data"]), Path(folder) / "shop")
        batch = 5 * int(
            options.get("batch", 2048)
        )  # RecBole counts the pairs, negatives among them
        sizes = {
            "train_batch_size": batch,
            "eval_batch_size": int(options.get("eval_batch_size", 4096)),
        }
        places = {"data_path": folder, "checkpoint_dir": f"{folder}/saved"}
        config = Config(
            model="NeuMF", dataset="shop", config_dict=SETTINGS | sizes | places
        )
        train, _, test = data_preparation(config, create_dataset(config))
        with chdir(folder):  # where it begins a log
            return Trainer(config, NeuMF(config, train.dataset)), train, test


def epoch(options: dict[str, str]) -> Callable[[], Any]:
    """One training epoch of RecBole's trainer."""
    trainer, train, _ = _loaded(options)
    return lambda: trainer._train_epoch(train, 0)


def ranking(options: dict[str, str]) -> Callable[[], Any]:
    """RecBole's evaluation of every user over all items."""
    trainer, _, test = _loaded(options)
    return lambda: trainer.evaluate(test, load_best_model=False)
