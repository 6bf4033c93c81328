"""Load an artifact, if need be only one that is signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recprune.artifact import read
from recprune.runtime import Scorer

if TYPE_CHECKING:
    from recprune.trust.artifacts import Sigstore

__all__ = ["load"]


def load(
    path: str | Path, *, require_signature: str | Path | Sigstore | None = None, decimals: int | None = None
) -> Scorer:
    """Read an artifact's directory and make it answer. Needs numpy and safetensors, no training framework.

    `require_signature`: a public key (PEM), certificates that the signer's must build on, or a `recprune.trust.Sigstore`
    identity; the artifact is then verified before anything else of it is read, and refused with a RecpruneError that names
    the file. Needs the extra `trust`. `decimals`: 0 to 6 to which every score is rounded, lists being made of rounded ones.
    """
    if require_signature is None:
        return Scorer(read(path), decimals=decimals)
    from recprune.trust.artifacts import verify_artifact

    path = Path(path).resolve()  # a link to a directory may not lead elsewhere in between
    return Scorer(read(path, verify_artifact(path, require_signature)), decimals=decimals)
