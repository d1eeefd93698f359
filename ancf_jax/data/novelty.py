"""How often products are bought that nobody has bought before, by known events alone."""

import numpy as np

from ancf_jax.data.dataset import Dataset

LATEST = 0.1  # share of the known events that tell how often something new is bought


def share_of_new(dataset: Dataset, parts: tuple[int, ...]) -> float:
    """How likely the next event is the first one of its product.

    The share of the latest events, a tenth of those that are known, that were the first of
    their product. Where only an order is known, the estimate of Good and Turing: the products
    with exactly one event, over all events.

    Args:
        dataset: all events.
        parts: whose events are known.
    """
    source = dataset.interactions
    is_known = np.isin(dataset.part, parts)
    item = source.item[is_known]
    if source.clock:
        return _latest_share(item, source.time[is_known])
    events = np.bincount(item)
    return float(np.sum(events == 1) / len(item))


def _latest_share(item: np.ndarray, time: np.ndarray) -> float:
    """Share of the latest events, of events [N], that are the first of their item."""
    order = np.argsort(time, kind="stable")
    _, first = np.unique(item[order], return_index=True)
    is_first = np.zeros(len(item), bool)
    is_first[first] = True
    latest = max(int(LATEST * len(item)), 1)
    return float(is_first[-latest:].mean())
