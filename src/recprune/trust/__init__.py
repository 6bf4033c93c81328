"""Trust: artifacts that are signed, answers that are signed, and nothing loaded that is neither when it must be."""

from recprune.trust.answers import ARTIFACT, AnswerSigner, AnswerVerifier, Verified
from recprune.trust.artifacts import Sigstore, sign_artifact, verify_artifact
from recprune.trust.bom import bom
from recprune.trust.keys import generate
from recprune.trust.load import load
from recprune.trust.messages import Message, parse_response

__all__ = [
    "ARTIFACT",
    "AnswerSigner",
    "AnswerVerifier",
    "Message",
    "Sigstore",
    "Verified",
    "bom",
    "generate",
    "load",
    "parse_response",
    "sign_artifact",
    "verify_artifact",
]
