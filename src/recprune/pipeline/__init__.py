"""From a YAML to a proved artifact: the stages of a run, cached by content."""

__all__: list[str] = []
