"""The same bits again on a GPU, where sums by scatter are otherwise in no fixed order.

CPUs need nothing: there the same program gives the same bits.
"""

import os

FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Lets XLA take operations alone whose result is the same each time, for the whole process.

    To be called before JAX uses a device for the first time: XLA reads its flags then. Where an
    operation has no such form, compiling it is an error. Earlier versions of XLA gave wrong results
    with it (mended by openxla/xla pull requests 31063 and 31746 of September 2025); those that this
    package takes are newer.

    Source: https://docs.jax.dev/en/latest/xla_flags.html, jax-ml/jax discussion 10674.
    """
    before = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{before} {FLAG}".lstrip()
