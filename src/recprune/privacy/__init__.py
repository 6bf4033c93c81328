"""What an attacker learns from a model. Arrays in, numbers out: never a model."""

from recprune.privacy.attacks import absence, likelihood_ratio
from recprune.privacy.attributes import Inference, infer
from recprune.privacy.leakage import ATTACKS, MEASURES, leakage, play

__all__ = ["ATTACKS", "MEASURES", "Inference", "absence", "infer", "leakage", "likelihood_ratio", "play"]
