"""What several processes do to a checkpoint together: what fails in one has failed in all."""

import json
from collections.abc import Callable
from typing import TypeVar

from ancf_jax.checkpoint.damage import reason
from ancf_jax.machine.parallel import texts_of_all

Result = TypeVar("Result")


def in_all(
    work: Callable[[], Result], errors: tuple[type[Exception], ...]
) -> list[Result]:
    """What `work` returns in each process, which has to be JSON; every process calls this.

    Args:
        work: a part of what is done together. It asks no other process for anything.
        errors: what it may raise.

    Raises:
        One of `errors`: it was raised here, or in another process, whose number is named.
    """
    own_error = None
    outcome: dict[str, object] = {}
    try:
        outcome["result"] = work()
    except errors as error:
        own_error = error
        kind = next(n for n, known in enumerate(errors) if isinstance(error, known))
        outcome["error"] = [kind, reason(error)]
    outcomes = [json.loads(text) for text in texts_of_all(json.dumps(outcome))]
    if own_error is not None:
        raise own_error
    for process, of_process in enumerate(outcomes):
        if "error" in of_process:
            kind, problem = of_process["error"]
            raise errors[kind](f"process {process}: {problem}")
    return [of_process["result"] for of_process in outcomes]
