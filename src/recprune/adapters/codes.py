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
from recprune.weights.quantized import levels

__all__ = ["Code", "code_from"]

Spec = Mapping[str, Any]
# A bitmap holds eight rows a byte, most significant bit first; it is read as little-endian words of 64 rows. For each
# place in a word: the bit of that row, and the bits of the rows before it.
_ORDER = [1 << (8 * (row // 8) + 7 - row % 8) for row in range(64)]
_BIT = torch.from_numpy(np.array(_ORDER, np.uint64).view(np.int64))
_BEFORE = torch.from_numpy(np.array([sum(_ORDER[:row]) for row in range(64)], np.uint64).view(np.int64))


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
        return next(self.parts()).device

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """Every stored tensor, by the names that the encoding gives its arrays; while training, what would be stored."""
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

    @property
    def device(self) -> torch.device:
        return self.values.device

    def _take(self, rows: Tensor) -> Tensor:
        return self.values[rows].float() if self.leaf is None else _gather(self.leaf, rows)

    def decode(self) -> Tensor:
        return self.values.float() if self.leaf is None else self.leaf

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "values": self.values if self.leaf is None else self.leaf.detach().to(self.values.dtype)}

    def open_(self) -> list[Tensor]:
        self.leaf = self.values.float().clone().requires_grad_()
        return [self.leaf]

    def close_(self) -> None:
        self.values, self.leaf = self.state()["values"], None


class _Bfloat16(_Dense):
    """Its values are a tensor of torch's own type over the bits that are stored."""

    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        super().__init__(spec, {prefix + "values": tensors[prefix + "halves"].view(torch.bfloat16)}, prefix)

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "halves": super().state()["values"].view(torch.uint16)}

    def close_(self) -> None:
        self.values, self.leaf = super().state()["values"], None


class _Quantized(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.codes, self.scale = tensors[prefix + "codes"], tensors[prefix + "scale"]
        self.bits, self.granularity, self.group = int(spec["bits"]), spec["granularity"], int(spec["group"])
        self.shape = tuple(int(d) for d in spec["dims"])
        self.columns = int(np.prod(self.shape[1:], dtype=np.int64))
        self.offset, self.top = levels(self.bits)
        self.leaf: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.scale.device

    def _take(self, rows: Tensor) -> Tensor:
        if self.leaf is not None:
            return self._straight_through(_gather(self.leaf, rows), self._step(rows))
        return self._codes(rows).float().sub_(self.offset).mul_(self._step(rows))

    def decode(self) -> Tensor:
        if self.leaf is not None:
            return self._straight_through(self.leaf, self._step()).reshape(self.shape)
        count = self.shape[0] * self.columns
        packed = self.codes
        if self.bits == 3:
            packed = torch.nn.functional.pad(packed, (0, -len(packed) % 3))
        codes = _spread(packed, self.bits)[:count].reshape(self.shape[0], self.columns)
        return codes.float().sub_(self.offset).mul_(self._step()).reshape(self.shape)

    def _codes(self, rows: Tensor) -> Tensor:
        width = self.columns * self.bits
        if width % 8 == 0:  # rows begin at whole bytes: gather their bytes, then spread them
            return _spread(self.codes.reshape(self.shape[0], width // 8)[rows], self.bits)
        return _unpack(
            self.codes, rows[:, None] * self.columns + torch.arange(self.columns, device=rows.device), self.bits
        )

    def _step(self, rows: Tensor | None = None) -> Tensor:
        """Scale of each value of the rows, or of all."""
        if self.granularity in ("per_tensor", "per_column"):
            return self.scale.float()[None, :]
        if rows is not None:
            return self.scale[rows if self.granularity == "per_row" else rows // self.group].float()[:, None]
        scale = self.scale.float()
        if self.granularity == "per_group":
            scale = scale.repeat_interleave(self.group)[: self.shape[0]]
        return scale[:, None]

    def _rounded(self, values: Tensor, step: Tensor) -> Tensor:
        ratio = torch.where(step > 0, values / torch.where(step > 0, step, 1.0), 0.0)
        return torch.floor(ratio + (self.offset + 0.5)).clamp(0, self.top)

    def _straight_through(self, values: Tensor, step: Tensor) -> Tensor:
        """Forward the stored value exactly, backward the identity (Bengio et al. 2013)."""
        with torch.no_grad():
            stored = (self._rounded(values, step) - self.offset) * step
        return stored + (values - values.detach())

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        codes = self.codes
        if self.leaf is not None:
            fresh = self._rounded(self.leaf.detach(), self._step()).to(torch.uint8)
            codes = torch.from_numpy(pack(fresh.cpu().numpy(), self.bits)).to(self.device)
        return {prefix + "codes": codes, prefix + "scale": self.scale}

    def open_(self) -> list[Tensor]:
        self.leaf = self.decode().reshape(self.shape[0], self.columns).clone().requires_grad_()
        return [self.leaf]

    def rescale_(self) -> None:
        assert self.leaf is not None
        values = self.leaf.detach().cpu().numpy().reshape(self.shape)
        fresh = Quantized.encode(values, self.bits, self.granularity, self.group)
        self.scale = torch.from_numpy(fresh.scale).to(self.device)

    def close_(self) -> None:
        self.codes, self.leaf = self.state()["codes"], None


def _gather(leaf: Tensor, rows: Tensor) -> Tensor:
    """Rows of a leaf; the gradient of a table holds only the rows that were read, so that a step costs what it reads."""
    return torch.nn.functional.embedding(rows, leaf, sparse=True) if leaf.dim() == 2 else leaf[rows]


def _unpack(packed: Tensor, index: Tensor, width: int) -> Tensor:
    """Read the values at `index` out of bytes packed by `bits.pack`, as `bits.unpack` does."""
    if width == 8:
        return packed[index].long()
    first = index * width
    byte = first >> 3
    word = torch.zeros_like(first)
    for k in range((width + 14) // 8):
        word |= packed[(byte + k).clamp(max=len(packed) - 1)].long() << 8 * (3 - k)
    return word >> (32 - width - (first & 7)) & (1 << width) - 1


def _spread(packed: Tensor, bits: int) -> Tensor:
    """Unpack the last axis of bytes into values of `bits` bits, most significant first."""
    if bits == 8:
        return packed
    if bits == 3:
        a, b, c = packed.reshape(*packed.shape[:-1], packed.shape[-1] // 3, 3).unbind(-1)
        values = [
            a >> 5,
            a >> 2 & 7,
            a << 1 & 7 | b >> 7,
            b >> 4 & 7,
            b >> 1 & 7,
            b << 2 & 7 | c >> 6,
            c >> 3 & 7,
            c & 7,
        ]
    else:
        values = [packed >> shift & 2**bits - 1 for shift in range(8 - bits, -1, -bits)]
    return torch.stack(values, -1).flatten(-2)


def _popcount(words: Tensor) -> Tensor:
    """Set bits of each int64 (the shifts copy the sign, the masks remove it again)."""
    words = words - (words >> 1 & 0x5555555555555555)
    words = (words & 0x3333333333333333) + (words >> 2 & 0x3333333333333333)
    return ((words + (words >> 4) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101) >> 56


class _Codebook(Code):
    """Which word a row is stays as it is; the words are trained (trained quantization: Han et al. 2016)."""

    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.codes, self.words = tensors[prefix + "codes"], tensors[prefix + "words"]
        self.bits = int(spec["bits"])
        self.shape = (int(spec["rows"]), self.words.shape[1])
        self.leaf: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.words.device

    def _take(self, rows: Tensor) -> Tensor:
        codes = _unpack(self.codes, rows, self.bits)
        if self.leaf is None:
            return self.words[codes].float()
        values = torch.nn.functional.embedding(codes, self.leaf)
        return _as_half(values.detach()).float() + (values - values.detach())

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        words = self.words if self.leaf is None else _as_half(self.leaf.detach())
        return {prefix + "codes": self.codes, prefix + "words": words}

    def open_(self) -> list[Tensor]:
        self.leaf = self.words.float().clone().requires_grad_()
        return [self.leaf]

    def close_(self) -> None:
        self.words, self.leaf = self.state()["words"], None


def _as_half(values: Tensor) -> Tensor:
    return values.clamp(-65504, 65504).half()


class _Parts(Code):
    """What encodings of several parts share."""

    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.groups = [code_from(part, tensors, f"{prefix}parts.{i}.") for i, part in enumerate(spec["parts"])]

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {k: v for i, g in enumerate(self.groups) for k, v in g.state(f"{prefix}parts.{i}.").items()}

    def parts(self) -> Iterator[Code]:
        yield from self.groups


class _Columns(_Parts):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        super().__init__(spec, tensors, prefix)
        self.shape = (self.groups[0].shape[0], sum(group.shape[1] for group in self.groups))

    def _take(self, rows: Tensor) -> Tensor:
        return torch.cat([group.take(rows) for group in self.groups], -1)


class _Rows(Code):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        kept, self.default, self.rows = tensors[prefix + "kept"], int(spec["default"]), int(spec["rows"])
        self.inner = code_from(spec["inner"], tensors, prefix + "inner.")
        self.shape = (self.rows, *self.inner.shape[1:])
        self.bitmap = kept.dtype == torch.uint8
        if self.bitmap:
            padded = torch.nn.functional.pad(kept, (0, -len(kept) % 8))
            self.kept, self.words = padded[: len(kept)], padded.view(torch.int64)
            self.bit, self.before = _BIT.to(kept.device), _BEFORE.to(kept.device)
            counts = _popcount(self.words)
        else:
            self.kept, self.starts, self.stops = kept, kept[::2].contiguous(), kept[1::2].contiguous()
            counts = self.stops - self.starts
        self.rank = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()

    @property
    def device(self) -> torch.device:
        return self.rank.device

    def position(self, rows: Tensor) -> Tensor:
        """Where each row lies in what is stored."""
        if not len(self.kept):
            return torch.full_like(rows, self.default)
        if self.bitmap:
            index, place = rows >> 6, rows & 63
            word = self.words[index]
            position = self.rank[index] + _popcount(word & self.before[place])
            found = word & self.bit[place] != 0
        else:
            run = torch.searchsorted(self.starts, rows.int(), right=True) - 1
            safe = run.clamp(min=0)
            position = self.rank[safe] + rows - self.starts[safe]
            found = (run >= 0) & (rows < self.stops[safe])
        return torch.where(found, position, self.default)

    def _all_positions(self) -> Tensor:
        """The positions of all rows, faster than one by one."""
        mask = torch.zeros(self.rows + 1, dtype=torch.int8, device=self.device)
        if self.bitmap:
            mask[: self.rows] = _spread(self.kept, 1)[: self.rows]
        else:
            mask.index_add_(0, self.starts, torch.ones_like(self.starts, dtype=torch.int8))
            mask.index_add_(0, self.stops, torch.full_like(self.stops, -1, dtype=torch.int8))
            mask = mask.cumsum(0)
        found = mask[: self.rows] != 0
        return torch.where(found, found.cumsum(0) - 1, self.default)

    def _take(self, rows: Tensor) -> Tensor:
        return self.inner.take(self.position(rows))

    def decode(self) -> Tensor:
        return self.inner.decode().index_select(0, self._all_positions())

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + "kept": self.kept} | self.inner.state(prefix + "inner.")

    def parts(self) -> Iterator[Code]:
        yield self.inner

    def derived(self) -> int:
        own = self.rank.nbytes + (0 if self.bitmap else self.kept.nbytes)
        return own + self.inner.derived()


class _Stacked(_Parts):
    def __init__(self, spec: Spec, tensors: Mapping[str, Tensor], prefix: str) -> None:
        super().__init__(spec, tensors, prefix)
        self.order = tensors[prefix + "order"]
        self.shape = (sum(g.shape[0] for g in self.groups), max(g.shape[1] for g in self.groups))
        # Of each run of rows that lie in one part: its first row, the part, and the part's rows before it.
        part = torch.arange(len(self.groups))
        length = torch.tensor([group.shape[0] for group in self.groups])
        if self.order.dtype == torch.uint8:
            width = next(width for width in (1, 2, 4, 8) if len(part) <= 1 << width)
            which = _spread(self.order.cpu(), width)[: self.shape[0]].long()
            part, length = torch.unique_consecutive(which, return_counts=True)
        elif len(self.order):
            starts, part = self.order.cpu().long().reshape(-1, 2).T
            length = torch.diff(starts, append=torch.tensor([self.shape[0]]))
        before = torch.zeros_like(length)
        for i in range(len(self.groups)):
            mine = part == i
            before[mine] = length[mine].cumsum(0) - length[mine]
        self.runs = torch.stack([length.cumsum(0) - length, part, before]).int().to(self.device)

    def position(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The part that each row lies in, and its place there."""
        starts, part, before = self.runs
        run = torch.searchsorted(starts, rows.int(), right=True) - 1
        return part[run].long(), before[run] + rows - starts[run]

    def _take(self, rows: Tensor) -> Tensor:
        result = torch.zeros(len(rows), self.shape[1], device=rows.device)
        which, place = self.position(rows)
        for i, group in enumerate(self.groups):
            chosen = (which == i).nonzero()[:, 0]
            if len(chosen):
                values = torch.nn.functional.pad(group.take(place[chosen]), (0, self.shape[1] - group.shape[1]))
                result = result.index_put((chosen,), values)
        return result

    def decode(self) -> Tensor:
        which, place = self.position(torch.arange(self.shape[0], device=self.device))
        start = torch.tensor([0, *(g.shape[0] for g in self.groups)], device=self.device).cumsum(0)
        pad = torch.nn.functional.pad
        parts = torch.cat([pad(g.decode(), (0, self.shape[1] - g.shape[1])) for g in self.groups])
        return parts.index_select(0, start[which] + place)

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return super().state(prefix) | {prefix + "order": self.order}

    def derived(self) -> int:
        return self.runs.nbytes + super().derived()


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

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + n: t for n, t in self.tensors.items()}


_CODES: dict[str, Callable[[Spec, Mapping[str, Tensor], str], Code]] = {
    "dense": _Dense,
    "bfloat16": _Bfloat16,
    "quantized": _Quantized,
    "codebook": _Codebook,
    "columns": _Columns,
    "rows": _Rows,
    "stacked": _Stacked,
    "low_rank": _LowRank,
}
