"""The whole arrays of a checkpoint: named by their place in the tree, and read back one by one.

Orbax writes them; they are read through TensorStore, the storage under it. That way a damaged
array is known by name, and a forged shape is refused before memory is taken for it.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore

from ancf_jax.checkpoint.damage import damage_of
from ancf_jax.data.storage import digest


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by dotted path, equal for a dict and a named tuple with the same fields."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def zeros(shapes: Any) -> Any:
    """NumPy arrays of these shapes."""
    return jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes)


def describe(array: np.ndarray) -> dict[str, Any]:
    """What is recorded of an array: shape, dtype and digest."""
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "digest": digest(array.tobytes()),
    }


def read_leaf(folder: Path, name: str, record: dict[str, Any]) -> np.ndarray:
    """The array `name` of a checkpoint.

    Args:
        folder: the arrays of the checkpoint.
        name: dotted path of the leaf.
        record: what `describe` said of the array when it was saved.

    Raises:
        Damaged: it cannot be read, or is not what was saved.
    """
    return read_array(_place(folder, name), f"leaf {name}", record)


def read_array(place: dict[str, Any], what: str, record: dict[str, Any]) -> np.ndarray:
    """The array at a place, given in the words of TensorStore.

    Raises:
        Damaged: it cannot be read, or is not what `describe` said when it was saved.
    """
    with damage_of(what):
        spec = place | {"fill_missing_data_reads": False}
        store = tensorstore.open(spec, open=True, read=True).result()
        _check_shape(store, record["shape"])
        array = store.read().result()
        if describe(array) != record:
            raise ValueError("not what its digest says")
    return array


def _place(folder: Path, name: str) -> dict[str, Any]:
    """Where Orbax puts an array, in the words of TensorStore."""
    files = {"driver": "file", "path": f"{folder}/"}
    return {
        "driver": "zarr",
        "kvstore": {"driver": "ocdbt", "base": files, "path": f"{name}/"},
    }


def _check_shape(store: tensorstore.TensorStore, shape: list[int]) -> None:
    """Raises ValueError where the array, or a chunk of it, has not the recorded shape."""
    chunk = store.chunk_layout.read_chunk.shape or ()
    sizes = zip(chunk, shape, strict=True)
    if list(store.shape) != shape or any((part or 0) > whole for part, whole in sizes):
        raise ValueError(f"shape {store.shape} is not that of its record, {shape}")
