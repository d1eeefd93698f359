"""How often products are bought that nobody has bought before, by known events alone."""

import numpy as np

from ancf_jax.data.dataset import Dataset

LATEST = 0.1  # share of the known events that tell how often something new is bought


def share_of_new(dataset: Dataset, parts: tuple[int, ...]) -> float:
    """How often products are bought that had no event when the lists were made.

    Among the latest tenth of the known events, the share of those whose product had none before
    that tenth: as in a shop whose lists are as old. Where only an order is known, the estimate
    of Good and Turing: the products with exactly one event, over all events.

    Args:
        dataset: all events.
        parts: whose events are known; without any, nothing is bought.
    """
    source = dataset.interactions
    is_known = np.isin(dataset.part, parts)
    item = source.item[is_known]
    if not len(item):
        return 0.0
    if source.clock:
        return _latest_share(item, source.time[is_known])
    events = np.bincount(item)
    return float(np.sum(events == 1) / len(item))


def _latest_share(item: np.ndarray, time: np.ndarray) -> float:
    """Share of the latest events, of events [N], whose item has none before these."""
    order = np.argsort(time, kind="stable")
    latest = max(int(LATEST * len(item)), 1)
    before = item[order[:-latest]]
    is_old = np.isin(item[order[-latest:]], before)
    return float(np.mean(~is_old))
