"""Trained models from files: told apart by what they hold, not by their names."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.pickles import is_pickle, load_pickle
from recprune.errors import RecpruneError
from recprune.memory import require

__all__ = ["KINDS", "read_model", "tried"]

KINDS = (
    "skops (scikit-learn)",
    "LightGBM's text",
    "XGBoost's JSON or UBJ",
    "npz with item_factors or item_weights",
    "a pickle or what joblib wrote, with --trust-pickle",
)
_PATIENCE = 600  # seconds for another process to read a model
_ROOM = 4 << 30  # bytes for the libraries and their threads
_REFUSED = 3
_TRUSTED = ("collections.", "lightgbm.", "numpy.", "scipy.", "sklearn.", "xgboost.")


def read_model(path: str | Path, *, trust_pickle: bool = False) -> Any:
    """A model as `compress` takes it, from a file.

    - skops: a scikit-learn estimator or pipeline, with the classes of scikit-learn, numpy, scipy, LightGBM and XGBoost.
    - LightGBM's text and XGBoost's JSON or UBJ: a Booster.
    - npz: a factor model (`item_factors`, items x width; with `alpha` and `l2` of its training users are folded in as ALS
      does, else projected on the factors), or an item-item model (`item_weights`, items x items, or what
      `scipy.sparse.save_npz` wrote). `ids`: text or integers, else items are numbered from 0; `shares`: popularity; `bias`:
      of a factor model.
    - A pickle, also of joblib, runs code: it is loaded with `trust_pickle` only, held to what a model names (`load_pickle`).

    Raises RecpruneError for any other file, a damaged one, and classes that are not known.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error
    load = _loader(content, path, trust_pickle)
    _try(content, path, trust_pickle)
    return load(content, path)


def _loader(content: bytes, path: Path, trust_pickle: bool) -> Callable[[bytes, Path], Any]:
    if content.startswith(b"PK\x03\x04"):
        return _zipped
    if content.startswith(b"tree\n"):
        return _lightgbm
    if content.startswith(b"{"):
        return _xgboost
    if is_pickle(content):
        if trust_pickle:
            return load_pickle
        raise RecpruneError(
            f"{path} is a pickle, which can run any code when it is loaded; save the model by skops, or say "
            "--trust-pickle (trust_pickle=True) if it is your own"
        )
    raise RecpruneError(f"{path} is no model that is known; these are: {', '.join(KINDS)}")


def _try(content: bytes, path: Path, trust_pickle: bool) -> None:
    """Have another process load it first: parsers of other libraries crash, or take all memory, for a damaged file."""
    code = f"from recprune.adapters.model_files import tried; tried({str(path)!r}, {trust_pickle})"
    try:
        found = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise RecpruneError(f"{path} is damaged: reading it did not end within {_PATIENCE} s") from None
    if found.returncode == _REFUSED:
        raise RecpruneError(found.stdout.decode().strip().splitlines()[-1])
    if found.returncode:
        raise RecpruneError(
            f"{path} is damaged: reading it ends the process that does, or takes more memory than it may"
        )


def tried(path: str, trust_pickle: bool) -> None:
    """What that process does, with a limit on memory where the system has one."""
    content = sys.stdin.buffer.read()
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = _ROOM + 20 * len(content)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        _loader(content, Path(path), trust_pickle)(content, Path(path))
    except RecpruneError as error:
        print(error)
        sys.exit(_REFUSED)
    except ImportError as error:
        print(f"reading {path} needs a library that is not installed: {error}")
        sys.exit(_REFUSED)


def _zipped(content: bytes, path: Path) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise RecpruneError(f"{path} is damaged: {error}") from error
    require(2 * sum(members.values()), f"reading {path}", "a smaller model, or a larger machine, is needed")
    if any(name.endswith("/data.pkl") for name in members):
        raise RecpruneError(
            f"{path} is a file of torch.save, which holds no model without its class; load it in Python and give the module "
            "to recprune.compress"
        )
    return _skops(content, path) if "schema.json" in members else _arrays(content, path)


def _skops(content: bytes, path: Path) -> Any:
    try:
        from skops.io import get_untrusted_types, loads
    except ImportError:
        raise RecpruneError(f"{path} was written by skops: install recprune[sklearn] to read it") from None
    try:
        asked = get_untrusted_types(data=content)
        strange = [name for name in asked if not name.startswith(_TRUSTED)]
        if not strange:
            return loads(content, trusted=asked)
    except Exception as error:  # skops raises what it meets
        raise RecpruneError(f"{path} cannot be loaded by skops: {' '.join(str(error).split())}") from error
    raise RecpruneError(f"{path} names {', '.join(strange[:5])}, which is not of scikit-learn; not loaded")


def _lightgbm(content: bytes, path: Path) -> Any:
    import lightgbm

    try:
        found = lightgbm.Booster(model_str=content.decode("utf-8"))
        found.predict(np.zeros((1, found.num_feature())))
        return found
    except (lightgbm.basic.LightGBMError, ValueError, MemoryError) as error:
        raise RecpruneError(f"{path} cannot be read by LightGBM: {_first(error)}") from error


def _xgboost(content: bytes, path: Path) -> Any:
    import xgboost

    try:
        if content.startswith((b'{"', b"{\n", b"{ ")) and "learner" not in json.loads(content):
            raise RecpruneError(f"{path} is JSON, but no model of XGBoost")
        found = xgboost.Booster()
        found.load_model(bytearray(content))
        return found
    except (xgboost.core.XGBoostError, ValueError, RecursionError, MemoryError) as error:
        raise RecpruneError(f"{path} cannot be read by XGBoost: {_first(error)}") from error


def _first(error: Exception) -> str:
    """The line of a message that says what is wrong, without the stack of a C++ library."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _arrays(content: bytes, path: Path) -> Any:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays: dict[str, npt.NDArray[Any]] = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        why = "an array of objects, which only a pickle holds" if "allow_pickle" in str(error) else error
        raise RecpruneError(f"{path}: {why}") from error
    if "item_factors" in arrays:
        return _factors(arrays, path)
    if "item_weights" in arrays or {"data", "indices", "indptr", "shape"} <= set(arrays):
        return _item_weights(arrays, path)
    raise RecpruneError(f"{path} holds {', '.join(arrays) or 'nothing'}: item_factors or item_weights is due")


def _ids(arrays: dict[str, npt.NDArray[Any]], count: int) -> npt.NDArray[Any]:
    return arrays["ids"] if "ids" in arrays else np.arange(count)


def _factors(arrays: dict[str, npt.NDArray[Any]], path: Path) -> Any:
    from recprune.recommenders.factors import FactorModel, Fold

    factors = arrays["item_factors"]
    users = arrays.get("user_factors", factors)
    try:
        if users.shape[1:] != factors.shape[1:]:
            raise RecpruneError(
                f"user_factors are {users.shape}, item_factors {factors.shape}: the widths are to be one"
            )
        if "alpha" in arrays and "l2" in arrays:
            fold = Fold.confidence(float(arrays["alpha"]), float(arrays["l2"]))
        else:
            fold = Fold()
        return FactorModel.of(
            factors, _ids(arrays, len(factors)), fold, shares=arrays.get("shares"), bias=arrays.get("bias")
        )
    except (RecpruneError, ValueError, TypeError) as error:
        raise RecpruneError(f"{path}: {error}") from error


def _item_weights(arrays: dict[str, npt.NDArray[Any]], path: Path) -> Any:
    from recprune.recommenders.ease import ItemItem

    try:
        matrix: Any = arrays.get("item_weights")
        if matrix is None:
            from scipy.sparse import csc_array, csr_array

            kind = bytes(arrays["format"].item()) if "format" in arrays else b"csr"
            made = {b"csr": csr_array, b"csc": csc_array}.get(kind)
            if made is None:
                raise RecpruneError(f"a sparse matrix is csr or csc, got {kind.decode(errors='replace')}")
            matrix = made((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"].tolist()))
            matrix.check_format(full_check=True)
        return ItemItem.of(matrix, _ids(arrays, matrix.shape[0]), arrays.get("shares"))
    except (RecpruneError, ValueError, TypeError, IndexError) as error:
        raise RecpruneError(f"{path}: {error}") from error
