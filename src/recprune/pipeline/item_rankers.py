"""The models of a task of kind `next_item` that are fitted without gradients: item-item matrices, and ALS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.files import write_bytes
from recprune.pipeline.config import NextItemConfig
from recprune.pipeline.shared import Say
from recprune.pruning.analyze import analyze
from recprune.pruning.compress import compress
from recprune.pruning.methods import KeepTop, Quantize
from recprune.pruning.recipe import Recipe
from recprune.recommenders.item_peers import Peer

__all__ = ["AlsRanker", "EaseRanker", "ItemItemRanker", "ItemKnnRanker", "SparseEaseRanker", "StoredRanker"]

Array = npt.NDArray[Any]
JudgeLists = Callable[[Array], float]
JudgeArtifact = Callable[[Artifact], float]
_K = 20


class Fitted:
    """A ranker that is fitted as a whole: without some users it is fitted again, and nothing of them is left."""

    learns: ClassVar[bool] = False

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""
        raise NotImplementedError

    def repair(self, trained: Callable[[], Any], folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """As `train`."""
        return self.train(folder, judge, say)


@dataclass(frozen=True)
class ItemItemRanker(Fitted):
    """A model of how often items were read together: fitted again rather than stored."""

    name: ClassVar[str]
    config: NextItemConfig
    data: Any
    seed: int

    @property
    def words(self) -> str:
        """What the model is."""
        return f"{self.name} over {self.data.catalogue:,} items with {self.config.min_reads} readers or more"

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""
        say(f"fitting {self.words}")
        return self.load(folder), []

    def load(self, folder: Path) -> Any:
        """The trained model."""
        raise NotImplementedError

    def matrix(self, folder: Path) -> Any:
        """The matrix (items, items), dense or scipy sparse, that plain magnitude pruning is compared on."""
        from recprune.weights import Sparse

        value, items = self.load(folder).item_weights, self.data.catalogue
        if not isinstance(value, Sparse):
            return value.decode()[:items, :items]
        from scipy.sparse import csr_array

        rows, columns, values = value.coordinates()
        return csr_array((values, (rows, columns)), shape=(items, items))

    def analyze(
        self, folder: Path, judge: JudgeLists, judge_artifact: JudgeArtifact, metric: str, say: Say
    ) -> dict[str, Any]:
        """What is redundant, and what keeping fewer entries of a column costs on validation, nothing refitted."""
        ways = {
            f"{count} entries a column": KeepTop("item_weights", count, by="column", refit=False, bits=8)
            for count in (64, 16, 8, 4)
        }
        how = "largest entries of each column kept, 8 bits, nothing refitted"
        return _analyzed(self, folder, judge_artifact, metric, say, ways, how)

    def importance(self, folder: Path, judge: JudgeLists, metric: str, say: Say) -> list[dict[str, Any]]:
        """Nothing: an item-item model has no tables whose rows are dropped."""
        return []

    def small(self, users: Array, judge: JudgeLists, say: Say) -> Iterator[Peer]:
        """Nothing: its plainest peer is plain magnitude pruning, which stands among all peers."""
        yield from ()


class EaseRanker(ItemItemRanker):
    """EASE, dense, in closed form."""

    name = "EASE"

    def load(self, folder: Path) -> Any:
        """The trained model."""
        from recprune.recommenders.ease import ItemItem

        return ItemItem.fit(self.data.user_items, self.data.items[: self.data.catalogue], self.config.l2)


class StoredRanker(ItemItemRanker):
    """A sparse matrix that takes minutes to fit: it is stored. `scale`: of the popularity that is added to scores."""

    scale: ClassVar[float]

    def fitted(self, say: Say) -> Any:
        """The matrix, scipy CSR (items, items)."""
        raise NotImplementedError

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""
        from safetensors.numpy import save

        say(f"fitting {self.words}")
        matrix = self.fitted(say)
        parts = {name: np.ascontiguousarray(getattr(matrix, name)) for name in ("data", "indices", "indptr")}
        write_bytes(folder / "model.safetensors", save(parts))
        return self.load(folder), ["model.safetensors"]

    def load(self, folder: Path) -> Any:
        """The trained model."""
        from safetensors.numpy import load
        from scipy.sparse import csr_array

        from recprune.recommenders.ease import ItemItem
        from recprune.recommenders.next_item_data import shares_of

        parts, items = load((folder / "model.safetensors").read_bytes()), self.data.catalogue
        matrix = csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=(items, items))
        return ItemItem.of(matrix, self.data.items[:items], shares_of(self.data.user_items, self.scale))


class SparseEaseRanker(StoredRanker):
    """EASE with a few candidates for each item: for catalogues whose dense matrix does not fit."""

    name, scale = "sparse EASE", 0.8

    def fitted(self, say: Say) -> Any:
        """The matrix, scipy CSR (items, items)."""
        from recprune.recommenders.sparse_ease import fit_sparse

        config = self.config
        return fit_sparse(self.data.user_items, config.l2, config.neighbours, tail=config.tail, say=say)


class ItemKnnRanker(StoredRanker):
    """The cosine of the readers of two items, shrunk; popularity, no part of it, only orders ties."""

    name, scale = "item cosine", 1e-3

    def fitted(self, say: Say) -> Any:
        """The matrix, scipy CSR (items, items)."""
        from recprune.recommenders.item_peers import cosine_matrix

        return cosine_matrix(self.data.user_items, self.config.neighbours)


@dataclass(frozen=True)
class AlsRanker(Fitted):
    """Alternating least squares by `implicit`; the factors of items are stored, and those of users are not."""

    config: NextItemConfig
    data: Any
    seed: int

    @property
    def words(self) -> str:
        """What the model is."""
        least = self.config.min_reads
        return f"ALS, {self.config.width} wide, over {self.data.catalogue:,} items with {least} readers or more"

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""
        from safetensors.numpy import save

        say(f"fitting {self.words}")
        factors = self._factors(self.config.width)
        write_bytes(folder / "model.safetensors", save({"item_factors": factors}))
        return self._model(factors), ["model.safetensors"]

    def load(self, folder: Path) -> Any:
        """The trained model."""
        from safetensors.numpy import load

        return self._model(load((folder / "model.safetensors").read_bytes())["item_factors"])

    def matrix(self, folder: Path) -> Any:
        """Nothing: there is no matrix of items by items."""
        return None

    def analyze(
        self, folder: Path, judge: JudgeLists, judge_artifact: JudgeArtifact, metric: str, say: Say
    ) -> dict[str, Any]:
        """What is redundant, and what fewer bits cost on validation, nothing refitted."""
        ways = {f"{bits} bits": Quantize("item_factors", bits) for bits in (8, 4, 2)}
        return _analyzed(self, folder, judge_artifact, metric, say, ways, "bits of a value")

    def importance(self, folder: Path, judge: JudgeLists, metric: str, say: Say) -> list[dict[str, Any]]:
        """Nothing: a row that is dropped cannot be recommended, and judging each cut folds every user in again."""
        return []

    def small(self, users: Array, judge: JudgeLists, say: Say) -> Iterator[Peer]:
        """The same model with fewer factors, in 8 bits: lists of the test for the users at `users`."""
        from recprune.recommenders.item_peers import histories_of, ranked_lists

        histories = histories_of(self.data, users)
        for width in self.config.trained_small:
            say(f"the same model from scratch: {width} wide")
            coded = compress(self._model(self._factors(width)), Recipe((Quantize("*", 8),)))
            with TemporaryDirectory() as folder:
                size = write(coded.artifact, Path(folder) / "artifact")["disk_bytes"]
            lists = ranked_lists(coded.model.scores, histories, _K)
            yield Peer(f"{width} wide", lists, size, "trained from scratch, 8 bits", trained_small=True)

    def _factors(self, width: int) -> npt.NDArray[np.float32]:
        from recprune.recommenders.item_peers import als_model

        config = self.config
        model = als_model(self.data.user_items, width, config.als_l2, config.alpha, seed=self.seed)
        factors: npt.NDArray[np.float32] = np.ascontiguousarray(model.item_factors, dtype=np.float32)
        return factors

    def _model(self, factors: Array) -> Any:
        from recprune.recommenders.factors import FactorModel, Fold
        from recprune.recommenders.next_item_data import shares_of

        ids = self.data.items[: self.data.catalogue]
        fold = Fold.confidence(self.config.alpha, self.config.als_l2)
        return FactorModel.of(factors, ids, fold, shares=shares_of(self.data.user_items, scale=1.0))


def _analyzed(
    ranker: ItemItemRanker | AlsRanker,
    folder: Path,
    judge: JudgeArtifact,
    metric: str,
    say: Say,
    ways: Mapping[str, KeepTop | Quantize],
    how: str,
) -> dict[str, Any]:
    """What is redundant, and what each of `ways` to store the one large parameter costs on validation."""
    artifact, model = read(folder / "original"), ranker.load(folder)
    adapter = adapter_for(model)
    context = adapter.context(model, ranker.data, ranker.seed, say)
    found = analyze(adapter.read(model), context).to_json()
    part = next(iter(ways.values())).target
    base, whole = judge(artifact), artifact.weights[part].nbytes
    points = [{"keep": 1.0, "difference": 0.0, "bytes": whole}]
    for name, step in ways.items():
        weights = step(artifact.weights, context)
        difference, kept = judge(replace(artifact, weights=weights)) - base, weights[part].nbytes
        points.append({"keep": kept / whole, "difference": difference, "bytes": kept})
        say(f"{name}: {metric} {difference:+.4f} on validation")
    found["sensitivity"] = [{"part": part, "metric": metric, "how": how, "points": points}]
    return found
