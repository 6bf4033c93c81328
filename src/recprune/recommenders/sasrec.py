"""SASRec: attention over what a user took, in its order (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.errors import RecpruneError
from recprune.recommenders.sequences import Array, SequenceModel

__all__ = ["Block", "Norm", "SasRec"]


class Norm(nn.Module):
    """Layer normalization that counts the columns it was trained with: one that is cut later counts as a zero.

    So the smaller model gives what the zeroed one gives, and a column can be cut wherever it appears.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        mean = x.sum(-1, keepdim=True) / self.width
        gone = self.width - x.shape[-1]
        variance = ((x - mean).square().sum(-1, keepdim=True) + gone * mean.square()) / self.width
        return (x - mean) * (variance + 1e-5).rsqrt() * self.scale + self.shift


class Block(nn.Module):
    """Attention over the past, then a layer of neurons; both are added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.factor, self.dropout = heads, (width // heads) ** -0.5, dropout
        self.before, self.between = Norm(width), Norm(width)
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x`: (batch, time, width). `mask`: (batch, 1, time, time), what each time may look at."""
        y = self.before(x)
        parts = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        query, key, value = parts
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=self.factor)
        x = x + F.dropout(self.mix(seen.transpose(1, 2).flatten(-2)), self.dropout, self.training)
        hidden = F.dropout(F.relu(self.rise(self.between(x))), self.dropout, self.training)
        return x + F.dropout(self.fall(hidden), self.dropout, self.training)


class SasRec(SequenceModel):
    """`positions` (length + 1, width): by how many items came later in the window; the last row is never read."""

    def __init__(
        self,
        ids: Array,
        shares: Array,
        *,
        width: int = 64,
        length: int = 50,
        blocks: int = 1,
        heads: int = 2,
        dropout: float = 0.2,
    ) -> None:
        if width % heads:
            raise RecpruneError(f"a width of {width} cannot be divided among {heads} heads")
        super().__init__(ids, shares, width, length)
        self.dropout = dropout
        self.positions = nn.Parameter(torch.randn(length + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.last = Norm(width)

    def user_vectors(self, rows: Tensor) -> Tensor:
        """(batch, time, width)."""
        time = rows.shape[1]
        later = torch.arange(time - 1, -1, -1, device=rows.device)
        x = F.embedding(rows, self.items) + F.embedding(later, self.positions)
        x = F.dropout(x, self.dropout, self.training)
        known = (rows != len(self.ids))[:, None, None, :]
        itself = torch.eye(time, dtype=torch.bool, device=rows.device)
        mask = (known & itself.new_ones(time, time).tril()) | itself
        for block in self.blocks:
            x = block(x, mask)
        result: Tensor = self.last(x)
        return result

    def item_vectors(self) -> Tensor:
        """The rows as they are."""
        return self.items
