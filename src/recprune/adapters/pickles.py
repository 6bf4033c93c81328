"""Pickles of models, for those who trust them: looked through first, and held to known classes while they are loaded."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError

__all__ = ["load_pickle", "named_in"]

_KNOWN = ("collections", "implicit", "lightgbm", "numpy", "pandas", "scipy", "sklearn", "xgboost")
_PLAIN = frozenset(
    kind.__name__
    for kind in (bytearray, bytes, complex, dict, float, frozenset, int, list, object, set, slice, str, tuple)
)
# Functions by which those libraries and pickle itself put their objects together; of all else only classes are taken.
_MAKERS = {
    "_codecs": ("encode",),
    "copyreg": ("_reconstructor",),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
}


def load_pickle(content: bytes, path: Path) -> Any:
    """The object of a pickle that names nothing but classes of known libraries.

    A pickle is a program: this keeps it from calling what is no model, and is no proof that it does no harm. Raises
    RecpruneError, before anything is loaded, for names that are not known, and for a damaged file.
    """
    name = str(path)
    strange = sorted({".".join(pair) for pair in named_in(content, name) if not _may(*pair)})
    if strange:
        known = ", ".join(_KNOWN)
        raise RecpruneError(f"{name} names {', '.join(strange[:5])}, which no model of {known} does; not loaded")
    try:
        return _Loader(io.BytesIO(content)).load()
    except RecpruneError:
        raise
    except Exception as error:  # a pickle can raise anything
        raise RecpruneError(
            f"{name} cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def named_in(content: bytes, name: str) -> Iterator[tuple[str, str]]:
    """Module and attribute of all that a pickle would import, without loading it. Raises RecpruneError for a damaged one."""
    texts: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, attribute = str(argument).partition(" ")
                yield module, attribute
                texts.append(None)
            elif opcode.name == "STACK_GLOBAL":
                pair = texts[-2:]
                # A name that is made up while it loads cannot be looked through.
                yield ("a computed name", "") if len(pair) < 2 or None in pair else (str(pair[0]), str(pair[1]))
                texts.append(None)
            elif opcode.name in ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"):
                yield "an extension", str(argument)
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else None
            elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(argument or 0)] = texts[-1] if texts else None
            elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                texts.append(memo.get(int(argument or 0)))
            elif opcode.name not in ("PROTO", "FRAME"):
                texts.append(argument if isinstance(argument, str) else None)
    except Exception as error:  # pickletools raises what it meets
        raise RecpruneError(f"{name} is no whole pickle: {' '.join(str(error).split())}") from error


def _may(module: str, attribute: str) -> bool:
    if module in ("builtins", "__builtin__"):
        return attribute in _PLAIN
    return attribute in _MAKERS.get(module, ()) or module.partition(".")[0] in _KNOWN


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only classes, and the few functions that make objects."""
        if not _may(module, name):
            raise RecpruneError(f"the pickle asks for {module}.{name} while it is loaded")
        found = super().find_class(module, name)
        if name in _MAKERS.get(module, ()):
            return found
        if not isinstance(found, type):
            raise RecpruneError(f"the pickle asks for {module}.{name}, which is no class")
        if not _may(found.__module__, found.__name__):  # one that a known module has imported from elsewhere
            raise RecpruneError(f"the pickle asks for {module}.{name}, which is {found.__module__}.{found.__name__}")
        return found
