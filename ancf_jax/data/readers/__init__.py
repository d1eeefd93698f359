"""Reads any supported layout of files into `Interactions`; the layout is detected or forced.

Layouts are tables, and those of published data: MovieLens, the files of the NCF paper, and
sequences of items. Each has a module of its own here.
"""

from ancf_jax.data.readers.layouts import detect, read

__all__ = ["detect", "read"]
