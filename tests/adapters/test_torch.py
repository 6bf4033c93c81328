"""Models of strangers, rebuilt around every encoding."""

import copy
import io

import numpy as np
import pytest
import torch

from recprune.adapters.compact import CompactTensor
from recprune.adapters.torch import TorchAdapter
from recprune.weights import Dense, LowRank, Quantized, Rows, Stacked
from tests.adapters.foreign import NAMES, model_and_input


def rows_of(array, inner):
    """Two of three rows kept, the rest read the mean of what was dropped."""
    kept = np.arange(len(array)) % 3 != 1
    stored = np.concatenate([array[kept], array[~kept].mean(0, keepdims=True)])
    return Rows.encode(kept, inner(stored), int(kept.sum()))


def first_rows(array, inner):
    kept = np.arange(len(array)) < len(array) - 2
    return Rows.encode(kept, inner(np.concatenate([array[kept], array[-1:]])), int(kept.sum()))


def quantized(bits, granularity="per_row"):
    return lambda array: Quantized.encode(array, bits, granularity, 4)


def low_rank(array):
    return LowRank.encode(array, max(1, min(array.shape) // 2))


def small_low_rank(array):
    fresh = low_rank(array)
    return LowRank(quantized(8)(fresh.left.decode()), quantized(8)(fresh.right.decode()))


def stacked(array):
    third = len(array) // 3
    width = max(1, array.shape[1] // 2)
    return Stacked(
        (Dense(array[:third]), quantized(8)(array[third : 2 * third]), quantized(4)(array[2 * third :, :width]))
    )


def half(array):
    return Dense(array.astype(np.float16))


MATRIX = {
    "half": half,
    **{f"{bits} bits": quantized(bits) for bits in (2, 3, 4, 8)},
    **{g: quantized(4, g) for g in ("per_tensor", "per_column", "per_group")},
    "rows": lambda a: rows_of(a, half),
    "rows of codes": lambda a: rows_of(a, quantized(4)),
    "first rows": lambda a: first_rows(a, half),
    "rows of low rank": lambda a: rows_of(a, low_rank),
    "low rank": low_rank,
    "low rank of codes": small_low_rank,
    "stacked": stacked,
}


def encoded(weights, encode):
    """Encode every parameter that the encoding can take and that gets smaller by it."""
    for name, param in weights.items():
        axes = len(param.shape)
        if (
            (axes == 2 and param.shape[0] > 3)
            or (axes > 2 and encode in (half, MATRIX["4 bits"]))
            or (axes == 1 and encode is half)
        ):
            value = encode(param.value.decode())
            if value.nbytes < param.nbytes:
                weights = weights.replace(name, value)
    return weights


def decoded(weights):
    for name, param in weights.items():
        weights = weights.replace(name, Dense(param.value.decode()))
    return weights


def outputs(model, args):
    with torch.no_grad():
        result = model(*args)
    return result if isinstance(result, tuple) else (result,)


def held(model):
    """Bytes of the memory behind all parameters and buffers: whole storages, each once."""
    tensors = []
    for tensor in (*model.parameters(), *model.buffers()):
        tensors += tensor.tensors().values() if isinstance(tensor, CompactTensor) else [tensor]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encode", MATRIX.values(), ids=list(MATRIX))
def test_a_rebuilt_model_is_the_model_with_decoded_weights(name, encode):
    model, args = model_and_input(name)
    before = copy.deepcopy(model.state_dict())
    adapter = TorchAdapter()
    weights = encoded(adapter.read(model).weights, encode)
    rebuilt, plain = adapter.rebuild(model, weights), adapter.rebuild(model, decoded(weights))

    assert type(rebuilt) is type(model)
    assert any(isinstance(tensor, CompactTensor) for tensor in rebuilt.state_dict().values())
    assert not any(isinstance(tensor, CompactTensor) for tensor in plain.state_dict().values())
    for _ in range(2):  # nothing that a call leaves behind changes the next one
        for got, wanted in zip(outputs(rebuilt, args), outputs(plain, args), strict=True):
            assert type(got) is torch.Tensor
            assert torch.allclose(got, wanted, atol=1e-5, rtol=1e-5)
    assert [n for n, _ in rebuilt.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert list(rebuilt.state_dict()) == list(model.state_dict())

    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert held(rebuilt) == held(model) - adapter.read(model).weights.nbytes + weights.nbytes < held(model)

    again = adapter.read(rebuilt).weights
    assert all(again[n].value.nbytes == param.nbytes for n, param in weights.items())
    file = io.BytesIO()
    torch.save(rebuilt.state_dict(), file)
    file.seek(0)
    other = adapter.rebuild(model, weights)
    for tensor in other.parameters():
        if isinstance(tensor, CompactTensor):
            tensor.copy_(torch.zeros(tensor.shape))
    other.load_state_dict(torch.load(file, weights_only=True))
    for got, wanted in zip(outputs(other, args), outputs(rebuilt, args), strict=True):
        assert torch.equal(got, wanted)
