"""Names of books, people and firms, brought to one spelling each."""

import html
import re
import unicodedata

import polars as pl

__all__ = ["clean_text", "normal_author", "normal_isbn", "normal_publisher", "normal_title"]

# UTF-8 that was once read as latin-1 ("Ã¼"), and the same twice, where the middle bytes became "?" ("Ã?Â¼").
_TWICE = re.compile(r"([Ãã])\?[Ââ]([\xa0-\xbf])")
_ONCE = re.compile(r"[\xc2-\xdf][\x80-\xbf]|ã[\xa1-\xbf]")
_LOST = re.compile(r"[Ãã]\?[Ââ]\?|Ã\?")
_PARENTHESES = re.compile(r"\([^()]*(?:\)|$)|\[[^\[\]]*(?:\]|$)")
_VOLUME = re.compile(r"\bvol(?:ume|\.)?\s*(\d+)", re.IGNORECASE)
_GENERIC = re.compile(
    r"(?:\s*[:;,]|\s-+)\s*(?:an?|the|ein|une?)?\s*"
    r"(?:novel|roman|memoir|mystery|thriller|romance|story|true story|stories|poems|play)s?(?:\s+of\s+.*)?\.?\s*$",
    re.IGNORECASE,
)
_HONOURS = frozenset(["jr", "sr", "dr", "phd", "md", "sir", "ii", "iii", "iv", "mr", "mrs", "ms", "rev"])
_FORMATS = re.compile(
    r"\((?:mm|tb|nd|pap|paper|hardcover|juv|ny|rlg|z)\.?\)|\bmass market( paperbacks?)?\b|\btrade paperbacks?\b"
)
_LEGAL = re.compile(
    r"inc|ltd|llc|co|corp|corporation|company|gmbh|verlag|vlg|publishing|publishers?|publ|publications|pubs?|group|grp|press"
    r"|pr|books?|paperbacks?|pap|tb|hardcover|editions?|editor[ei]|editores|ediciones"
)
_UNKNOWN = frozenset(
    [
        "",
        "not applicable",
        "not applicable na",
        "na",
        "n a",
        "unknown",
        "unk",
        "not avail",
        "none",
        "various",
        "x",
        "x x",
        "aaa",
    ]
)


def clean_text(text: str) -> str:
    """Undo HTML entities and text that was decoded wrongly; collapse white space.

    >>> clean_text("Simon &amp; Schuster"), clean_text("LÃ?Â¼bbe"), clean_text("StÃ¼ck")
    ('Simon & Schuster', 'Lübbe', 'Stück')
    """
    if "&" in text:  # once more, for "&amp;reg;"
        text = html.unescape(html.unescape(text))
    if not text.isascii():
        text = _LOST.sub("?", _TWICE.sub(r"\1\2", text))
        text = _ONCE.sub(lambda pair: pair[0].replace("ã", "Ã").encode("latin-1").decode("utf-8"), text)
    return " ".join(text.split())


def _key(text: str) -> str:
    """Lower case, no accents, no apostrophes, one space for anything else that is not a letter or digit."""
    if not text.isascii():
        text = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    text = text.lower().replace("'", "").replace("`", "").replace("’", "").replace("&", " and ")
    return " ".join(re.findall(r"[^\W_]+", text))


def normal_isbn(isbn: pl.Expr) -> pl.Expr:
    """Upper case, digits and letters A-Z only.

    >>> pl.select(normal_isbn(pl.lit('"0-432-53422-x"'))).item()
    '043253422X'
    """
    return isbn.str.to_uppercase().str.replace_all("[^0-9A-Z]", "")


def normal_author(text: str) -> str | None:
    """One spelling of a (cleaned) author: initials apart, no honours; None where it says that there is none.

    >>> normal_author("R.L. Stine"), normal_author("Kurt, Jr. Vonnegut"), normal_author("Not Applicable (Na )")
    ('r l stine', 'kurt vonnegut', None)
    """
    text = re.sub(r"\b(?:Ph\.?\s?D|M\.?D)\b\.?", " ", text, flags=re.IGNORECASE)
    words = [word for word in _key(text).split() if word not in _HONOURS]
    name = " ".join(words)
    return None if name in _UNKNOWN else name


def normal_publisher(text: str) -> str | None:
    """One spelling of a (cleaned) publisher: no legal form, no format; None where it says that there is none.

    >>> normal_publisher("St. Martin's Press"), normal_publisher("St Martins Pr"), normal_publisher("Tor Books (Mm)")
    ('st martins', 'st martins', 'tor')
    """
    key = _key(_FORMATS.sub(" ", text.lower()))
    if key in _UNKNOWN:
        return None
    words = [word for word in key.split() if not _LEGAL.fullmatch(word)]
    if len(words) > 1 and words[-1] == "and":  # "Little Brown & Co"
        words.pop()
    return " ".join(words) or key


def normal_title(text: str) -> str:
    """Bring the editions of a work to one title: no series or format in parentheses, no "a novel", no leading article.

    The number of a volume stays.

    >>> normal_title("Atonement : A Novel"), normal_title("The Firm (Paperback)"), normal_title("Akira (Akira, Vol. 3)")
    ('atonement', 'firm', 'akira vol 3')
    """
    bare = _PARENTHESES.sub(lambda part: " ".join(f" vol {n}" for n in _VOLUME.findall(part[0])[:1]) or " ", text)
    bare = _GENERIC.sub("", _PARENTHESES.sub(" ", bare).strip())
    words = _key(bare).split() or _key(text).split()
    if len(words) > 1 and words[0] in ("the", "a", "an"):
        words = words[1:]
    return " ".join(words)
