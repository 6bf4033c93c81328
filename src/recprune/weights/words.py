"""An encoding in words, for plans and reports."""

from recprune.weights.codebook import Codebook
from recprune.weights.columns import Columns
from recprune.weights.encoding import Dense, Encoding
from recprune.weights.low_rank import LowRank
from recprune.weights.quantized import Quantized
from recprune.weights.rows import Rows
from recprune.weights.sparse import Sparse
from recprune.weights.stacked import Stacked
from recprune.weights.trees import Trees

__all__ = ["in_words"]


def in_words(value: Encoding) -> str:
    """How an array is stored.

    >>> import numpy as np
    >>> in_words(Quantized.encode(np.ones((3, 2)), 4))
    '4 bits per row'
    """
    if isinstance(value, Dense):
        return str(value.values.dtype)
    if isinstance(value, Quantized):
        scale = f"per {value.group} rows" if value.granularity == "per_group" else value.granularity.replace("_", " ")
        return f"{value.bits} bit{'s' * (value.bits > 1)} {scale}"
    if isinstance(value, Codebook):
        return f"{value.bits} bit{'s' * (value.bits > 1)} a row, {len(value.words)} words"
    if isinstance(value, Rows):
        return f"{int(value.mask().sum()):,} of {value.rows:,} rows, {in_words(value.inner)}"
    if isinstance(value, LowRank):
        return f"rank {value.rank} ({in_words(value.left)}; {in_words(value.right)})"
    if isinstance(value, Stacked):
        return " + ".join(f"{part.shape[0]:,} x {part.shape[1]} {in_words(part)}" for part in value.parts)
    if isinstance(value, Columns):
        return " beside ".join(f"{part.shape[1]} columns of {in_words(part)}" for part in value.parts)
    if isinstance(value, Sparse):
        share = value.stored / max(1, value.shape[0] * value.shape[1])
        return f"{value.stored:,} entries ({100 * share:.2g} %), {value.bits} bits"
    if isinstance(value, Trees):
        return f"{value.trees:,} trees, {value.splits:,} splits, {len(value.tests.thresholds):,} different tests"
    return value.kind
