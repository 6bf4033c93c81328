"""The format in which models are shipped."""

from recprune.artifact.artifact import FORMAT, Artifact
from recprune.artifact.layout import lay_out
from recprune.artifact.read import read
from recprune.artifact.write import contents, described_bytes, write

__all__ = ["FORMAT", "Artifact", "contents", "described_bytes", "lay_out", "read", "write"]
