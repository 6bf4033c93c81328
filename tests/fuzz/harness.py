"""What every parser must do with any input: give a value, or one line that says what is wrong; soon, in little memory."""

import copy
import json
import resource
import time

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from tests.trust.test_mutations import ODD, changed_json, mutated

_SECONDS = 20  # for one input, on a machine that is busy
_KILOBYTES = 400_000

few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
many = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))

# Numbers, texts and nestings such as JSON and YAML give.
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | plain.filter(lambda v: v.__hash__), inner, max_size=4)
    ),
    max_leaves=20,
)
as_json = st.recursive(
    plain.filter(lambda v: v == v and not isinstance(v, list | dict)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def parsed(parse, *given):
    """Whether a parser took an input. Anything but a value or a RecpruneError of one line fails."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        parse(*given)
        taken = True
    except RecpruneError as error:
        said = str(error)
        assert said.isprintable(), said
        assert 5 < len(said) <= 2000, said
        taken = False
    assert time.perf_counter() - start < _SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _KILOBYTES
    return taken


def changed(value, rng, times=1):
    """A document with so many places changed; what cannot be changed any more stays."""
    found = copy.deepcopy(value)
    for _ in range(times):
        try:
            found = changed_json(found, rng)
        except (ValueError, TypeError, IndexError, KeyError):
            break
    return found


def as_yaml(value):
    """A document as the bytes of a file."""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode()


def broken(content, rng):
    """The bytes of a file with a few of them changed."""
    return mutated(content, [content, json.dumps(ODD).encode()], rng)
