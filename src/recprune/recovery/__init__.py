"""Retraining of smaller models."""
