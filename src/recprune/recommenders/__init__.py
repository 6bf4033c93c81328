"""The reference models that the examples train, and their training loop. Import what you need from its files."""

__all__: list[str] = []
