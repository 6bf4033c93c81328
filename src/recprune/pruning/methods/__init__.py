"""What is done to weights: one verb a file."""

from recprune.pruning.methods.cast import Cast
from recprune.pruning.methods.codebook import Codebook
from recprune.pruning.methods.compensate import Compensate
from recprune.pruning.methods.drop_axis import DropAxis
from recprune.pruning.methods.drop_fields import DropFields
from recprune.pruning.methods.drop_ids import DropIds
from recprune.pruning.methods.drop_rows import DropRows
from recprune.pruning.methods.drop_trees import DropTrees
from recprune.pruning.methods.drop_weights import DropWeights
from recprune.pruning.methods.factorize import Factorize
from recprune.pruning.methods.fit_bytes import FitBytes
from recprune.pruning.methods.keep_top import KeepTop
from recprune.pruning.methods.merge_leaves import MergeLeaves
from recprune.pruning.methods.min_users import MinUsers
from recprune.pruning.methods.mixed import Mixed
from recprune.pruning.methods.quantize import Quantize
from recprune.pruning.methods.refit_leaves import RefitLeaves
from recprune.pruning.methods.retrain import Retrain
from recprune.pruning.methods.round_thresholds import RoundThresholds
from recprune.pruning.methods.share import Share
from recprune.pruning.methods.shrink_leaves import ShrinkLeaves
from recprune.pruning.methods.sparsify import Sparsify
from recprune.pruning.step import Step

__all__ = [
    "METHODS",
    "Cast",
    "Codebook",
    "Compensate",
    "DropAxis",
    "DropFields",
    "DropIds",
    "DropRows",
    "DropTrees",
    "DropWeights",
    "Factorize",
    "FitBytes",
    "KeepTop",
    "MergeLeaves",
    "MinUsers",
    "Mixed",
    "Quantize",
    "RefitLeaves",
    "Retrain",
    "RoundThresholds",
    "Share",
    "ShrinkLeaves",
    "Sparsify",
]

METHODS: dict[str, type[Step]] = {
    step.verb: step
    for step in (
        DropRows,
        DropIds,
        DropAxis,
        DropFields,
        DropWeights,
        DropTrees,
        MergeLeaves,
        ShrinkLeaves,
        RoundThresholds,
        RefitLeaves,
        MinUsers,
        Quantize,
        Cast,
        Codebook,
        Mixed,
        Share,
        Factorize,
        KeepTop,
        FitBytes,
        Compensate,
        Sparsify,
        Retrain,
    )
}
