"""Names of books, people and firms, brought to one spelling each."""

import html
import re
import unicodedata

__all__ = ["clean_text", "normal_author", "normal_isbn", "normal_publisher", "normal_title"]

# UTF-8 that was once read as latin-1 ("Ã¼"), and the same twice, where the middle bytes became "?" ("Ã?Â¼").
_TWICE = re.compile(r"([Ãã])\?[Ââ]([\xa0-\xbf])")
_ONCE = re.compile(r"[\xc2-\xdf][\x80-\xbf]|ã[\xa1-\xbf]")
_LOST = re.compile(r"[Ãã]\?[Ââ]\?")
_PARENTHESES = re.compile(r"\([^()]*(?:\)|$)|\[[^\[\]]*(?:\]|$)")
_GENERIC = re.compile(
    r"(?:\s*[:;,]|\s-+)\s*(?:an?|the|ein|une?)?\s*(?:novel|roman|memoir|mystery|thriller|romance|story|true story|stories|poems|play)s?"
    r"(?:\s+of\s+.*)?\.?\s*$",
    re.IGNORECASE,
)
_HONOURS = frozenset("jr sr dr phd md sir ii iii iv mr mrs ms rev".split())
_FORMATS = re.compile(
    r"\((?:mm|tb|nd|pap|paper|hardcover|juv|ny|rlg|z)\.?\)|\bmass market( paperbacks?)?\b|\btrade paperbacks?\b"
)
_LEGAL = frozenset(
    "inc ltd llc co corp corporation company gmbh verlag vlg publishing publishers publisher publ publications pub pubs"
    " group grp press pr book books paperback paperbacks pap tb hardcover editions edition editore editores ediciones".split()
)
_UNKNOWN = frozenset(
    ["", "not applicable", "not applicable na", "na", "n a", "unknown", "not avail", "none", "various"]
)


def clean_text(text: str) -> str:
    """Undo HTML entities and text that was decoded wrongly; collapse white space.

    >>> clean_text("Simon &amp; Schuster"), clean_text("LÃ?Â¼bbe"), clean_text("StÃ¼ck")
    ('Simon & Schuster', 'Lübbe', 'Stück')
    """
    if "&" in text:
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


def normal_isbn(text: str) -> str:
    """Upper case, digits and letters A-Z only.

    >>> normal_isbn('"0-432-53422-x"')
    '043253422X'
    """
    return re.sub(r"[^0-9A-Z]", "", text.upper())


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
    words = [word for word in key.split() if word not in _LEGAL]
    if len(words) > 1 and words[-1] == "and":  # "Little Brown & Co"
        words.pop()
    return " ".join(words) or key


def normal_title(text: str) -> str:
    """The title of a work, the same over its editions: no series or format in parentheses, no "a novel", no leading article.

    >>> normal_title("Atonement : A Novel"), normal_title("The Firm (Paperback)"), normal_title("STONES FROM THE RIVER")
    ('atonement', 'firm', 'stones from the river')
    """
    bare = _GENERIC.sub("", _PARENTHESES.sub(" ", text).strip())
    words = _key(bare).split() or _key(text).split()
    if len(words) > 1 and words[0] in ("the", "a", "an"):
        words = words[1:]
    return " ".join(words)
