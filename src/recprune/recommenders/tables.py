"""What the `like` models share: tables by id, statistics by id, and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.errors import RecpruneError
from recprune.recommenders.features import Features

__all__ = ["ModelSettings", "Table", "TableModel"]


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of a `like` model, and what keeps it from learning its training rows by heart.

    - `width`: columns of the factors; 0 for no id tables at all.
    - `min_readings`: ids read less often in training share the out-of-vocabulary row.
    - `cross`: number of cross layers (DCN-v2 only); `deep`: widths of the deep layers.
    - `factor_l2`, `bias_l2`: row-wise L2: a row read n times pays l2 / n at every reading, so that the strength of the
      penalty against the data does not depend on how rare an id is.
    - `id_dropout`: share of ids that read the out-of-vocabulary row in training, so that it learns to stand for them.
    - `dropout`: of the deep layers.
    """

    width: int = 8
    min_readings: int = 3
    cross: int = 2
    deep: tuple[int, ...] = (64, 32)
    factor_l2: float = 20.0
    bias_l2: float = 0.3
    id_dropout: float = 0.2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.width < 0 or self.min_readings < 1 or self.cross < 0 or min(self.deep, default=1) < 1:
            raise RecpruneError(f"sizes must be positive: {self}")
        if not 0 <= self.id_dropout < 1 or not 0 <= self.dropout < 1:
            raise RecpruneError(f"dropout must be in [0, 1), got {self.id_dropout} and {self.dropout}")


class Table(nn.Module):
    """Rows by id, the most read first: `factor` (m + 1, width) and `bias` (m + 1, 1); ids from m on read row m."""

    readings: Tensor
    centred = False
    """Whether rows are pulled to the out-of-vocabulary row and not to zero: so in retraining, where dropped rows read it."""

    def __init__(self, readings: Tensor, settings: ModelSettings) -> None:
        super().__init__()
        read = torch.nonzero(readings[:-1] >= settings.min_readings)
        kept = int(read.max()) + 1 if len(read) else 0  # ids are ordered by readings; buckets are not
        self.settings = settings
        self.factor = nn.Parameter(torch.randn(kept + 1, settings.width) * 0.01)
        self.bias = nn.Parameter(torch.zeros(kept + 1, 1))
        merged = torch.cat([readings[:kept], readings[kept:].sum().view(1)]).clamp(min=1).float()
        self.register_buffer("readings", merged, persistent=False)

    def drop(self, rows: Tensor) -> Tensor:
        """Rows of this table: rare and unknown ids read the last; in training some others do too."""
        last = len(self.readings) - 1
        rows = rows.clamp(max=last)
        if self.training and self.settings.id_dropout:
            rows = rows.masked_fill(torch.rand(rows.shape) < self.settings.id_dropout, last)
        return rows

    def forward(self, rows: Tensor, offsets: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Factors (batch, width), biases (batch, 1), and the L2 penalty (a sum over what was read)."""
        rows = self.drop(rows)
        factor = F.embedding(rows, self.factor, sparse=self.training)
        bias = F.embedding(rows, self.bias, sparse=self.training)
        penalty = factor.new_zeros(())
        if self.training:
            read = self.readings.index_select(0, rows)
            penalty = self.settings.factor_l2 * self._l2(rows, read, factor, self.factor)
            penalty = penalty + self.settings.bias_l2 * self._l2(rows, read, bias, self.bias)
        if offsets is not None:
            factor, bias = _pool(factor, offsets), _pool(bias, offsets)
        return factor, bias, penalty

    def _l2(self, rows: Tensor, read: Tensor, values: Tensor, table: Tensor) -> Tensor:
        """Half the squares of what was read, each over the readings `read` of its row."""
        if self.centred:
            last = len(self.readings) - 1
            shared = F.embedding(torch.tensor([last]), table).detach()
            values = torch.where((rows == last)[:, None], values, values - shared)
        return 0.5 * (values.square().sum(1) / read).sum()


def _pool(values: Tensor, offsets: Tensor) -> Tensor:
    """Mean of the rows of each bag; zeros for an empty one."""
    counts = offsets.diff()
    bags = torch.repeat_interleave(torch.arange(len(counts)), counts)
    sums = values.new_zeros(len(counts), values.shape[1]).index_add(0, bags, values)
    return sums / counts.clamp(min=1).unsqueeze(1)


class TableModel(nn.Module):
    """Base of the models over `Features`: reads factors, biases and statistics of a batch.

    A batch is a mapping: for each id, bucket and pair name its rows (int64), `words` and `offsets`, and in training
    `<key> statistics` (float), which take the place of what the tables of statistics hold.
    """

    cross: nn.ModuleList
    deep: nn.ModuleList

    def __init__(self, features: Features, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.features = features
        self.words = features.settings.words
        read = {name: torch.from_numpy(counts) for name, counts in features.readings.items()}
        self.tables = nn.ModuleDict()
        self.statistics = nn.Module()
        # Past the checks of torch: an attribute of items may be called as a method of modules is, such as `type`.
        self.tables._modules |= {name: Table(n, settings) for name, n in read.items()} if settings.width else {}
        self.statistics._buffers |= {key: torch.from_numpy(table) for key, table in features.tables.items()}
        self._penalty: Tensor | None = None

    @property
    def inputs(self) -> int:
        """Width of factors and statistics together."""
        statistics = sum(buffer.shape[1] for buffer in self.statistics.buffers())
        return statistics + self.settings.width * len(self.tables)

    def read(self, batch: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Factors and biases by table, and statistics by key, of a batch."""
        factors, biases, penalties = [], [], []
        for name, table in self.tables.items():
            if name == self.words:
                factor, bias, penalty = table(batch["words"], batch["offsets"])
            else:
                factor, bias, penalty = table(batch[name])
            factors.append(factor)
            biases.append(bias)
            penalties.append(penalty)
        self._penalty = sum(penalties, start=torch.zeros(()))
        statistics = []
        for key, buffer in self.statistics.named_buffers():
            given = batch.get(f"{key} statistics")
            statistics.append(F.embedding(batch[key], buffer) if given is None else given)
        return factors, biases, statistics

    @torch.no_grad()
    def inherit(self, older: TableModel) -> None:
        """Take the weights of a model that was trained on more rows, some of which are to be forgotten.

        Each id takes its row, drawn to the shared row by the share of its readings that are gone. Statistics are not taken:
        they were counted anew.
        """
        for name, table in self.tables.items():
            before = older.tables[name]
            shared = len(before.factor) - 1  # type: ignore[arg-type]
            at = self.features.rows_in(older.features, name)[: len(table.factor) - 1]  # type: ignore[arg-type]
            now = self.features.readings[name][: len(at)]
            left = np.minimum(now / np.maximum(older.features.readings[name][at], 1), 1.0)
            share = torch.from_numpy(np.append(left, 1.0).astype(np.float32))[:, None]
            rows = torch.from_numpy(np.append(np.minimum(at, shared), shared).astype(np.int64))
            for part in ("factor", "bias"):
                values: Tensor = getattr(before, part)
                getattr(table, part).copy_(values[shared] + share * (values[rows] - values[shared]))
        layers = {k: v for k, v in older.state_dict().items() if k.partition(".")[0] not in ("tables", "statistics")}
        self.load_state_dict(layers, strict=False)

    @staticmethod
    def total(biases: list[Tensor]) -> Tensor | float:
        """Sum of the biases of each row, (batch, 1); a table that was cut to nothing adds nothing."""
        return torch.cat(biases, dim=1).sum(1, keepdim=True) if biases else 0.0

    def penalty(self) -> Tensor:
        """The L2 penalty of what the last batch read, summed over its rows."""
        return torch.zeros(()) if self._penalty is None else self._penalty
