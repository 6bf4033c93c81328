"""What an attacker learns from a model. Arrays in, numbers out: never a model."""

from recprune.privacy.attacks import absence, likelihood_ratio
from recprune.privacy.attributes import Inference, infer
from recprune.privacy.budget import UNITS, Private, delta_for, noise_for, spent
from recprune.privacy.leakage import ATTACKS, MEASURES, leakage, play

__all__ = [
    "ATTACKS",
    "MEASURES",
    "UNITS",
    "Inference",
    "Private",
    "absence",
    "delta_for",
    "infer",
    "leakage",
    "likelihood_ratio",
    "noise_for",
    "play",
    "spent",
]
