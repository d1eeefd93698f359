"""What a figure on a split means, in words."""

from collections.abc import Callable
from typing import Any

MANY = 0.2  # share of test events above which an open basket is what is judged


def question(figures: dict[str, Any]) -> str:
    """The question that a figure on the split answers, as one line for people.

    Args:
        figures: of an audit, see `audits.audit`.
    """
    return _QUESTIONS[figures["split"]](figures)


def _next_basket(figures: dict[str, Any]) -> str:
    baskets = figures["baskets_held_out"]
    users = figures["users_held_out"]
    return (
        "question: what will a shopper take on the next visit? "
        f"({baskets:,} baskets of {users:,} shoppers held out whole)"
    )


def _time(figures: dict[str, Any]) -> str:
    return (
        "question: what will shoppers take in the time after "
        f"{figures['test_begins']}, {figures['cold_users']:,} of them new, "
        f"{figures['cold_items']:,} products new?"
    )


def _leave_one_out(figures: dict[str, Any]) -> str:
    share = figures["test_in_open_basket"]
    if share <= MANY:
        return "question: what comes next?"
    return (
        f"warning: {share:.1%} of the test events share their moment with the event before "
        "them, so that a figure says how well an open basket is completed, not what the next "
        "one holds; --split.kind next_basket asks for the next visit"
    )


def _ratio(figures: dict[str, Any]) -> str:
    return (
        "question: which of the (user, item) pairs that were held out at random does a user "
        "take, when later events are known, too?"
    )


def _given(figures: dict[str, Any]) -> str:
    return "question: as the files say"


_QUESTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "next_basket": _next_basket,
    "leave_one_out": _leave_one_out,
    "ratio": _ratio,
    "time": _time,
    "given": _given,
}
