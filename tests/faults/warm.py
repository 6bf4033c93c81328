"""What every command imports, loaded once in the process that the children are forked from."""

import gc

import implicit.als
import lightgbm
import model_signing.signing
import model_signing.verifying
import optuna
import sklearn.linear_model
import torch

import recprune.cli.main
import recprune.pipeline.audit
import recprune.pipeline.like
import recprune.pipeline.like_trees
import recprune.pipeline.next_item
import recprune.pipeline.search
import recprune.pruning.journal
import recprune.report
import tests.faults.harness

gc.freeze()  # or every child copies all of it to look for garbage

__all__ = ["implicit", "lightgbm", "model_signing", "optuna", "recprune", "sklearn", "tests", "torch"]
