"""Named arrays, and the ways to store them."""

from recprune.weights.bfloat16 import Bfloat16
from recprune.weights.codebook import Codebook, codebook_bits
from recprune.weights.columns import Columns
from recprune.weights.cuts import Cuts
from recprune.weights.encoding import Dense, Encoding, encoding_from
from recprune.weights.low_rank import LowRank, directions
from recprune.weights.param import Param, Weights, match
from recprune.weights.quantized import Granularity, Quantized
from recprune.weights.rows import Rows
from recprune.weights.sparse import Sparse
from recprune.weights.stacked import Stacked
from recprune.weights.trees import Trees
from recprune.weights.words import in_words

__all__ = [
    "Bfloat16",
    "Codebook",
    "Columns",
    "Cuts",
    "Dense",
    "Encoding",
    "Granularity",
    "LowRank",
    "Param",
    "Quantized",
    "Rows",
    "Sparse",
    "Stacked",
    "Trees",
    "Weights",
    "codebook_bits",
    "directions",
    "encoding_from",
    "in_words",
    "match",
]
