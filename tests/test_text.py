"""What is done to a text is what scikit-learn does."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from recprune.errors import RecpruneError
from recprune.text import Analyzer, escape

SETTINGS = [
    {},
    {"lowercase": False, "token_pattern": r"\S+"},
    {"strip_accents": "ascii", "ngram_range": (1, 3)},
    {"strip_accents": "unicode", "ngram_range": (2, 2), "stop_words": "english"},
    {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char", "ngram_range": (2, 2), "strip_accents": "unicode"},
    {"analyzer": "char_wb", "ngram_range": (2, 4)},
    {"analyzer": "char_wb", "ngram_range": (1, 1), "lowercase": False},
    {"token_pattern": r"(?u)\b\w+\b", "stop_words": ["the", "é"]},
    {"token_pattern": r"[a-z']{2,}"},
]
TEXTS = st.lists(
    st.sampled_from(["the ", "É", "Ünder", " a", "\n", "\t ", "书", "x-y", "ﬁ", "İ", "\\n", "don't", "\x00", "5 "])
)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@given(parts=TEXTS, rest=st.text(max_size=20))
def test_the_terms_are_those_of_scikit_learn_in_their_order(settings, parts, rest):
    from recprune.adapters.sklearn_parts import analyzer_of

    vectorizer = CountVectorizer(**settings)
    analyzer, own = analyzer_of(vectorizer)
    assert own is None
    text = "".join(parts) + rest
    assert analyzer(text) == list(vectorizer.build_analyzer()(text))
    assert Analyzer.from_json(analyzer.to_json()) == analyzer


def test_char_wb_by_hand():
    # " ab " has three pairs; " a " is shorter than four characters and counts once, and not again at five.
    assert Analyzer(unit="char_wb", ngrams=(2, 2))("ab") == [" a", "ab", "b "]
    assert Analyzer(unit="char_wb", ngrams=(4, 5))("a") == [" a "]


def test_lists_of_words_and_distinct_terms():
    given = Analyzer(False, pattern=None, ngrams=(1, 2), stop_words=("的",))
    assert given(["我", "的", "书"]) == ["我", "书", "我 书"]
    assert Analyzer(distinct=True)("night and night") == ["night", "and"]


@given(st.text(max_size=5), st.text(max_size=5))
def test_terms_as_ids_stay_apart_and_hold_no_line_break(one, other):
    assert (escape(one) == escape(other)) == (one == other)
    assert not set("\n\0") & set(escape(one))


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"\w+|\d+", r"(\w)\1", r".*", r"a*a*a*b", r"[a-z]+\b", r"\w*", "", r"\b\w\S+", 5, r"[z-a]+"]
)
def test_other_patterns_are_refused(pattern):
    with pytest.raises(RecpruneError, match=r"pattern|class of characters"):
        Analyzer(pattern=pattern)


@pytest.mark.parametrize("pattern", [r"(?u)\b\w\w+\b", r"\b[a-y]+\b", r"[^a]+", r"\b[a-z]{2,}\b"])
@pytest.mark.parametrize("text", ["a" * 200_000, "z" * 200_000, "az" * 100_000, "a-" * 100_000])
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern, text):
    start = time.perf_counter()
    assert Analyzer(pattern=pattern)(text) == re.findall(pattern, text)
    assert time.perf_counter() - start < 5  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": "line"}, "unit of a text"),
        ({"accents": "all"}, "strip accents"),
        ({"ngrams": (2, 1)}, "ngrams"),
        ({"ngrams": (0, 1)}, "ngrams"),
        ({"ngrams": (1, 101)}, "ngrams"),
        ({"stop_words": (1,)}, "stop_words"),
        ({"lowercase": 1}, "true or false"),
        ({"unit": "char", "pattern": None}, "lists of words"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(RecpruneError, match=message):
        Analyzer(**given)
    with pytest.raises(RecpruneError, match="exactly the fields"):
        Analyzer.from_json({"lowercase": True})


def test_english_stop_words_are_written_out():
    from recprune.adapters.sklearn_parts import analyzer_of

    analyzer, _ = analyzer_of(CountVectorizer(stop_words="english"))
    assert set(analyzer.stop_words) == ENGLISH_STOP_WORDS
