"""Pickles of models, joblib's too, for those who trust them: held to known classes while they are loaded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickle
import pickletools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError

__all__ = ["is_pickle", "load_pickle", "named_in"]

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


# How joblib marks an array whose bytes follow in the file, and the streams that it compresses whole files by.
_APART = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x5d\x00\x00": lzma.decompress,
    **{b"\x78" + level: zlib.decompress for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")},
}


def is_pickle(content: bytes) -> bool:
    """Whether a file starts as a pickle does, or as one does that joblib compressed."""
    plain = len(content) > 2 and content[:1] == b"\x80" and content[1] in range(2, 6)
    return plain or content.startswith(tuple(_PACKED))


def load_pickle(content: bytes, path: Path) -> Any:
    """The object of a pickle, or of what joblib wrote, compressed or not, that names nothing but classes of known libraries.

    A pickle is a program: this keeps it from calling what is no model, and is no proof that it does no harm. Raises
    RecpruneError for names that are not known, before anything is loaded (in joblib's files, where arrays lie between the
    names: when they are met), and for a damaged file.
    """
    name = str(path)
    unpack = next((unpack for start, unpack in _PACKED.items() if content.startswith(start)), None)
    if unpack is not None:
        try:
            content = unpack(content)
        except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
            raise RecpruneError(f"{name} is damaged: {error or type(error).__name__}") from error
    joblib = _APART[1].encode() in content
    strange = [] if joblib else sorted({".".join(pair) for pair in named_in(content, name) if not _may(*pair)})
    if strange:
        known = ", ".join(_KNOWN)
        raise RecpruneError(f"{name} names {', '.join(strange[:5])}, which no model of {known} does; not loaded")
    try:
        return (_JoblibLoader if joblib else _Loader)(io.BytesIO(content)).load()
    except RecpruneError as error:
        raise RecpruneError(f"{name}: {error}") from error
    except Exception as error:  # a pickle can raise anything
        said = " ".join(f"{type(error).__name__} {error}".split())
        raise RecpruneError(f"{name} cannot be loaded: {said}") from error


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


def _held(module: str, name: str, find: Callable[[str, str], Any]) -> Any:
    """What `find` finds under a known name: only classes, and the few functions that make objects."""
    if not _may(module, name):
        raise RecpruneError(f"the pickle asks for {module}.{name} while it is loaded")
    found = find(module, name)
    if name in _MAKERS.get(module, ()):
        return found
    if not isinstance(found, type):
        raise RecpruneError(f"the pickle asks for {module}.{name}, which is no class")
    if not _may(found.__module__, found.__name__):  # one that a known module has imported from elsewhere
        raise RecpruneError(f"the pickle asks for {module}.{name}, which is {found.__module__}.{found.__name__}")
    return found


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """As `_held`."""
        return _held(module, name, super().find_class)


_BUILD: Any = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _Apart:
    """What stands for an array whose bytes follow it in a file of joblib's; its state names shape, order and dtype."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype[Any]
    numpy_array_alignment_bytes: int | None = None

    def read(self, loader: _JoblibLoader) -> npt.NDArray[Any]:
        """The array. Raises RecpruneError where the file does not hold it."""
        file = loader.file
        if self.dtype.hasobject:  # objects are a pickle of their own
            return np.asarray(_JoblibLoader(file).load())
        if self.numpy_array_alignment_bytes is not None:
            file.read(int.from_bytes(file.read(1)))
        size = math.prod(self.shape) * self.dtype.itemsize
        read = file.read(size) if size >= 0 else b""
        if len(read) != size:
            raise RecpruneError(f"an array of {self.dtype}, shape {self.shape}, takes {size} bytes, found {len(read)}")
        return np.frombuffer(bytearray(read), self.dtype).reshape(self.shape, order="F" if self.order == "F" else "C")


class _JoblibLoader(pickle._Unpickler):
    """In Python: between the opcodes of joblib's pickles lie the bytes of arrays."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        """As `_held`, and what stands for an array."""
        return _Apart if (module, name) == _APART else _held(module, name, super().find_class)

    def build(self) -> None:
        """An object gets its state; one that stands for an array is replaced by it."""
        _BUILD(self)
        if isinstance(self.stack[-1], _Apart):
            self.stack[-1] = self.stack[-1].read(self)

    dispatch[pickle.BUILD[0]] = build
