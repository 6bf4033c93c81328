"""Small arrays and encodings that the tests of encodings share."""

import numpy as np
from hypothesis import strategies as st

from recprune.weights import Bfloat16, Codebook, Columns, Dense, LowRank, Quantized, Rows, Sparse, Stacked

BITS = (1, 2, 3, 4, 8)
GRANULARITIES = ("per_tensor", "per_row", "per_column", "per_group")


def table(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@st.composite
def tables(draw, fewest=0):
    shape = draw(st.integers(fewest, 12)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 10.0 ** draw(st.integers(-6, 3))
    return (rng.normal(size=shape) * scale).astype(np.float32)


@st.composite
def masks(draw, length):
    """Random marks, or a few runs."""
    if draw(st.booleans()):
        return np.array(draw(st.lists(st.booleans(), min_size=length, max_size=length)), dtype=bool)
    edges = sorted(draw(st.lists(st.integers(0, length), max_size=4)))
    mask = np.zeros(length, dtype=bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        mask[start:stop] = True
    return mask


def rows_of(array, mask, inner=None):
    """Keep the rows of a mask; the others read the first dropped one, stored behind the kept."""
    dropped = np.flatnonzero(~mask)
    tail = array[dropped[:1]] if len(dropped) else np.zeros((1, *array.shape[1:]), np.float32)
    stored = Dense(np.concatenate([array[mask], tail]).astype(np.float32))
    return Rows.encode(mask, inner(stored) if inner else stored, int(mask.sum()))


def every_encoding(rows=10, columns=4):
    """One of each kind, nested both ways, of shape (rows, columns)."""
    array = table(rows, columns)
    mask = np.arange(rows) % 3 == 0
    found = {
        "float32": Dense(array),
        "float16": Dense(array.astype(np.float16)),
        "bfloat16": Bfloat16.encode(array),
        "runs": rows_of(array, np.arange(rows) < rows // 2),
        "bitmap": rows_of(array, mask),
        "rows of codes": rows_of(array, mask, lambda d: Quantized.encode(d.values, 4)),
        "low rank": LowRank.encode(array, 2),
        "low rank of codes": LowRank.encode(array, 2).map_dense(lambda d: Quantized.encode(d.decode(), 8)),
        "rows of low rank": rows_of(array, mask, lambda d: LowRank.encode(d.values, 2)),
        "low rank of rows": LowRank(rows_of(table(rows, 2), mask), Dense(table(2, columns))),
        "stacked": Stacked((Dense(array[:3]), Quantized.encode(array[3:, :2], 4), Dense(array[:0, :1]))),
        "stacked rows": Stacked((Dense(array[:4]), rows_of(array[4:, :3], mask[4:]))),
        "stacked anyhow": Stacked.encode(mask.astype(int), (Dense(array[~mask]), Dense(array[mask][:, :3]))),
        "rows of stacked": Rows.encode(
            mask, Stacked((Dense(array[mask][:2]), Dense(array[mask][2:, :2]))), int(mask.sum()) - 1
        ),
    }
    found["codebook"] = Codebook.encode(array, 3)
    found["columns"] = Columns((Codebook.encode(array[:, :1], 3), Codebook.encode(array[:, 1:], 3)))
    found["rows of columns"] = rows_of(array, mask, lambda d: Columns((Dense(d.values[:, :3]), Dense(d.values[:, 3:]))))
    found["rows of a codebook"] = rows_of(array, mask, lambda d: Codebook.encode(d.values, 2))
    found["sparse"] = Sparse.from_dense(np.where(np.abs(array) > 0.7, array, 0), 8)
    found["sparse, plain values"] = Sparse.from_dense(np.where(np.abs(array) > 0.7, array, 0), 32)
    found["sparse rows"] = rows_of(array, mask, lambda d: Sparse.from_dense(d.values, 3))
    for bits in BITS:
        for granularity in GRANULARITIES:
            found[f"{bits} bits {granularity}"] = Quantized.encode(array, bits, granularity, 3)
    return found
