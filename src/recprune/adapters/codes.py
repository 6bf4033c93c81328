"""The encodings in torch: what a compact parameter holds, how it is read, and how its values are trained.

Each class mirrors one class of `recprune.weights` and gives the same numbers. An encoding without a mirror is read
through its own numpy code, so any new one works here, if slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recprune.bits import pack
from recprune.weights import Encoding, Quantized, encoding_from

__all__ = ["Code", "code_from"]

Spec = Mapping[str, Any]
_BLOCK = 8  # bytes of bitmap for each entry of the rank directory: half a bit a row
_POPCOUNT = torch.tensor([bin(i).count("1") for i in range(256)], dtype=torch.uint8)


class Code:
    """One encoding as torch tensors. Values come out as float32.

    `open_()` puts float leaves behind the values and lists them for an optimizer; what is read meanwhile depends on
    them; `close_()` stores their values the way the encoding stores values.
    """

    shape: tuple[int, ...]

    def take(self, rows: Tensor) -> Tensor:
        """The rows (axis 0) at int64 `rows` of any shape; only what is read is decoded."""
        return self._take(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])

    def decode(self) -> Tensor:
        """The whole array."""
        return self.take(torch.arange(self.shape[0], device=self.device))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.state().values())).device

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """Every stored tensor, by the names that the encoding gives its arrays."""
        raise NotImplementedError

    def parts(self) -> Iterator[Code]:
        """The encodings inside this one."""
        yield from ()

    def derived(self) -> int:
        """Bytes in memory beside what is stored: directories for look-ups."""
        return sum(part.derived() for part in self.parts())

    def open_(self) -> list[Tensor]:
        """Start training: the float leaves behind the values."""
        return [leaf for part in self.parts() for leaf in part.open_()]

    def rescale_(self) -> None:
        """While training: choose scales again for what the values have become."""
        for part in self.parts():
            part.rescale_()

    def close_(self) -> None:
        """End training: store what the leaves hold."""
        for part in self.parts():
            part.close_()

    def _take(self, rows: Tensor) -> Tensor:
        raise NotImplementedError


def code_from(spec: Spec, tensors: Mapping[str, Tensor], prefix: str = "") -> Code:
    """The torch form of the encoding that `spec()` and `arrays()` describe."""
    make: Callable[[Spec, Mapping[str, Tensor], str], Code] = _CODES.get(spec["encoding"], _Other)
    return make(spec, tensors, prefix)


class _Dense(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.values = tensors[prefix + "values"]
        self.shape = tuple(self.values.shape)
        self.leaf: Tensor | None = None

    def _take(self, rows: Tensor) -> Tensor:
        if self.leaf is not None:
            return self.leaf[rows]
        return self.values[rows].float()

    def decode(self) -> Tensor:
        return self.leaf if self.leaf is not None else self.values.float()

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "values": self.values}

    def open_(self) -> list[Tensor]:
        self.leaf = self.values.float().clone().requires_grad_()
        return [self.leaf]

    def close_(self) -> None:
        assert self.leaf is not None
        self.values, self.leaf = self.leaf.detach().to(self.values.dtype).clone(), None


class _Quantized(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.codes, self.scale = tensors[prefix + "codes"], tensors[prefix + "scale"]
        self.bits, self.granularity, self.group = int(spec["bits"]), spec["granularity"], int(spec["group"])
        self.shape = tuple(int(d) for d in spec["dims"])
        self.columns = int(np.prod(self.shape[1:], dtype=np.int64))
        self.offset = 1.5 if self.bits == 2 else 2 ** (self.bits - 1) - 1
        self.top = 3 if self.bits == 2 else 2 * (2 ** (self.bits - 1) - 1)
        self.leaf: Tensor | None = None

    def _take(self, rows: Tensor) -> Tensor:
        if self.leaf is not None:
            return self._straight_through(self.leaf[rows], self._step(rows))
        return (self._codes(rows).float() - self.offset) * self._step(rows)

    def decode(self) -> Tensor:
        rows = torch.arange(self.shape[0], device=self.device)
        if self.leaf is not None:
            return self._straight_through(self.leaf, self._step(rows)).reshape(self.shape)
        count = self.shape[0] * self.columns
        packed = self.codes
        if self.bits == 3:
            packed = torch.nn.functional.pad(packed, (0, -len(packed) % 3))
        codes = _spread(packed, self.bits)[:count].reshape(self.shape[0], self.columns)
        return ((codes.float() - self.offset) * self._step(rows)).reshape(self.shape)

    def _codes(self, rows: Tensor) -> Tensor:
        width = self.columns * self.bits
        if width % 8 == 0:  # rows begin at whole bytes: gather their bytes, then spread them
            return _spread(self.codes.reshape(self.shape[0], width // 8)[rows], self.bits)
        first = (rows[:, None] * self.columns + torch.arange(self.columns, device=rows.device)) * self.bits
        byte = first >> 3
        word = self.codes[byte].int() << 8 | self.codes[(byte + 1).clamp(max=len(self.codes) - 1)].int()
        codes: Tensor = word >> (16 - self.bits - (first & 7)) & 2**self.bits - 1
        return codes

    def _step(self, rows: Tensor) -> Tensor:
        if self.granularity == "per_row":
            return self.scale[rows].float()[:, None]
        if self.granularity == "per_group":
            return self.scale[rows // self.group].float()[:, None]
        return self.scale.float()[None, :]

    def _rounded(self, values: Tensor, step: Tensor) -> Tensor:
        ratio = torch.where(step > 0, values / torch.where(step > 0, step, 1.0), 0.0)
        return torch.floor(ratio + (self.offset + 0.5)).clamp(0, self.top)

    def _straight_through(self, values: Tensor, step: Tensor) -> Tensor:
        """Forward the stored value exactly, backward the identity (Bengio et al. 2013)."""
        with torch.no_grad():
            stored = (self._rounded(values, step) - self.offset) * step
        return stored + (values - values.detach())

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "codes": self.codes, prefix + "scale": self.scale}

    def open_(self) -> list[Tensor]:
        self.leaf = self.decode().reshape(self.shape[0], self.columns).clone().requires_grad_()
        return [self.leaf]

    def rescale_(self) -> None:
        assert self.leaf is not None
        values = self.leaf.detach().cpu().numpy().reshape(self.shape)
        fresh = Quantized.encode(values, self.bits, self.granularity, self.group)
        self.scale = torch.from_numpy(fresh.scale).to(self.device)

    def close_(self) -> None:
        assert self.leaf is not None
        rows = torch.arange(self.shape[0], device=self.device)
        codes = self._rounded(self.leaf.detach(), self._step(rows)).to(torch.uint8)
        self.codes = torch.from_numpy(pack(codes.cpu().numpy(), self.bits)).to(self.device)
        self.leaf = None


def _spread(packed: Tensor, bits: int) -> Tensor:
    """Unpack the last axis of bytes into values of `bits` bits, most significant first."""
    if bits == 8:
        return packed
    if bits == 3:
        triple = packed.reshape(*packed.shape[:-1], -1, 3).int()
        word = triple[..., 0] << 16 | triple[..., 1] << 8 | triple[..., 2]
        return torch.stack([word >> shift & 7 for shift in range(21, -1, -3)], -1).flatten(-2)
    mask = 2**bits - 1
    return torch.stack([packed >> shift & mask for shift in range(8 - bits, -1, -bits)], -1).flatten(-2)


class _Rows(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.kept, self.default, self.rows = tensors[prefix + "kept"], int(spec["default"]), int(spec["rows"])
        self.inner = code_from(spec["inner"], tensors, prefix + "inner.")
        self.shape = (self.rows, *self.inner.shape[1:])
        self.bitmap = self.kept.dtype == torch.uint8
        self.popcount = _POPCOUNT.to(self.kept.device)
        if self.bitmap:
            counts = self.popcount[self.kept.long()].int()
            counts = torch.nn.functional.pad(counts, (0, -len(counts) % _BLOCK)).reshape(-1, _BLOCK).sum(1)
        else:
            self.starts = self.kept[::2].contiguous()
            counts = self.kept[1::2] - self.starts
        self.rank = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()

    def position(self, rows: Tensor) -> Tensor:
        """Where each row lies in what is stored."""
        if len(self.kept) == 0:
            return torch.full_like(rows, self.default)
        if self.bitmap:
            byte, bit = rows >> 3, rows & 7
            block = byte // _BLOCK
            inside = block[:, None] * _BLOCK + torch.arange(_BLOCK, device=rows.device)
            counts = self.popcount[self.kept[inside.clamp(max=len(self.kept) - 1)].long()]
            here = self.kept[byte].int()
            position = self.rank[block] + torch.where(inside < byte[:, None], counts, 0).sum(1)
            position += self.popcount[(here >> (8 - bit)).long()]
            found = here >> (7 - bit) & 1 == 1
        else:
            run = torch.searchsorted(self.starts, rows.int(), right=True) - 1
            safe = run.clamp(min=0)
            found = (run >= 0) & (rows < self.kept[1::2][safe])
            position = self.rank[safe] + rows - self.starts[safe]
        return torch.where(found, position, self.default)

    def _take(self, rows: Tensor) -> Tensor:
        return self.inner.take(self.position(rows))

    def decode(self) -> Tensor:
        return self.inner.decode()[self.position(torch.arange(self.rows, device=self.device))]

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "kept": self.kept} | self.inner.state(prefix + "inner.")

    def parts(self) -> Iterator[Code]:
        yield self.inner

    def derived(self) -> int:
        own = self.rank.nbytes + (0 if self.bitmap else self.starts.nbytes)
        return own + self.inner.derived()


class _Stacked(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.groups = [code_from(part, tensors, f"{prefix}parts.{i}.") for i, part in enumerate(spec["parts"])]
        self.shape = (sum(g.shape[0] for g in self.groups), max(g.shape[1] for g in self.groups))

    def _take(self, rows: Tensor) -> Tensor:
        result = torch.zeros(len(rows), self.shape[1], device=rows.device)
        start = 0
        for group in self.groups:
            stop = start + group.shape[0]
            chosen = ((rows >= start) & (rows < stop)).nonzero()[:, 0]
            if len(chosen):
                values = torch.nn.functional.pad(group.take(rows[chosen] - start), (0, self.shape[1] - group.shape[1]))
                result = result.index_put((chosen,), values)
            start = stop
        return result

    def decode(self) -> Tensor:
        pad = torch.nn.functional.pad
        return torch.cat([pad(g.decode(), (0, self.shape[1] - g.shape[1])) for g in self.groups])

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {k: v for i, g in enumerate(self.groups) for k, v in g.state(f"{prefix}parts.{i}.").items()}

    def parts(self) -> Iterator[Code]:
        yield from self.groups


class _LowRank(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.left = code_from(spec["left"], tensors, prefix + "left.")
        self.right = code_from(spec["right"], tensors, prefix + "right.")
        self.shape = (self.left.shape[0], self.right.shape[1])

    def _take(self, rows: Tensor) -> Tensor:
        return self.left.take(rows) @ self.right.decode()

    def decode(self) -> Tensor:
        return self.left.decode() @ self.right.decode()

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return self.left.state(prefix + "left.") | self.right.state(prefix + "right.")

    def parts(self) -> Iterator[Code]:
        yield self.left
        yield self.right


class _Other(Code):
    """An encoding that only numpy reads: it stays as it is when the model is trained."""

    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.tensors = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.encoding: Encoding = encoding_from(spec, {n: t.cpu().numpy() for n, t in self.tensors.items()})
        self.shape = self.encoding.shape

    def _take(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self.encoding.take(rows.cpu().numpy())).to(rows.device)

    def decode(self) -> Tensor:
        return torch.tensor(self.encoding.decode(), device=self.device)

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + n: t for n, t in self.tensors.items()}


_CODES: dict[str, Callable[[Spec, Mapping[str, Tensor], str], Code]] = {
    "dense": _Dense,
    "quantized": _Quantized,
    "rows": _Rows,
    "stacked": _Stacked,
    "low_rank": _LowRank,
}
