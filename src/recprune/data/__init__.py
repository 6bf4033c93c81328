"""The log: reading, cleaning, caching and splitting it."""

from recprune.data.book_crossing import book_crossing
from recprune.data.forgotten import Forgotten
from recprune.data.log import Log
from recprune.data.movielens import movielens_100k
from recprune.data.own import read_log
from recprune.data.splits import hold_out_per_user, labels_at_least, split_by_hash, split_by_time

__all__ = [
    "Forgotten",
    "Log",
    "book_crossing",
    "hold_out_per_user",
    "labels_at_least",
    "movielens_100k",
    "read_log",
    "split_by_hash",
    "split_by_time",
]
