"""From an id to the row of a table.

Every kind gives rows 0..n-1 to n known ids and row n, the out-of-vocabulary row, to every other.
"""

from recprune.vocabulary.exact import ExactVocabulary
from recprune.vocabulary.fingerprint import FingerprintVocabulary
from recprune.vocabulary.integers import IntegerVocabulary
from recprune.vocabulary.keys import as_text, missing, pair_keys
from recprune.vocabulary.listed import ListedVocabulary
from recprune.vocabulary.vocabulary import Lookup, Vocabulary, vocabulary_from

__all__ = [
    "ExactVocabulary",
    "FingerprintVocabulary",
    "IntegerVocabulary",
    "ListedVocabulary",
    "Lookup",
    "Vocabulary",
    "as_text",
    "missing",
    "pair_keys",
    "vocabulary_from",
]
