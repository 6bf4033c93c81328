import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.names import clean_text, normal_author, normal_publisher, normal_title
from recprune.data.places import COUNTRIES, normal_country


@given(st.text(alphabet=st.characters(min_codepoint=0xC0, max_codepoint=0xFF), min_size=1).map("a".join))
def test_text_that_was_decoded_wrongly_comes_back(text):
    assert clean_text(text.encode("utf-8").decode("latin-1")) in (text, text.replace("\xad", ""))


@pytest.mark.parametrize("text", ["são paulo", "Ménage à trois", "Erzählungen", "Ærø", "ÄÖÜ", "señor ®"])
def test_text_that_was_decoded_rightly_stays(text):
    assert clean_text(text) == text


def test_what_is_lost_is_marked():
    assert clean_text("Das groÃ?Â?e BÃ?Â¶se") == "Das gro?e Böse"


@pytest.mark.parametrize(
    ("same", "key"),
    [
        (["R. L. Stine", "R.L. Stine", "R L STINE"], "r l stine"),
        (["Arthur Conan, Sir Doyle", "Sir Arthur Conan Doyle"], "arthur conan doyle"),
        (["Gabriel García Márquez", "Gabriel Garcia Marquez"], "gabriel garcia marquez"),
        (["Louis L'Amour", "Louis Lamour"], "louis lamour"),
        (["Benjamin, M.D. Spock", "Benjamin, MD Spock", "Benjamin Spock Md."], "benjamin spock"),
        (["Joan, Ph.D. Borysenko", "Joan Borysenko"], "joan borysenko"),
        (["Not Applicable (Na )", "Unknown", "N/A", "", "..."], None),
    ],
)
def test_authors(same, key):
    assert {normal_author(name) for name in same} == {key}


@pytest.mark.parametrize(
    ("same", "key"),
    [
        (["St. Martin's Press", "St Martins Pr"], "st martins"),
        (["Tor Books", "Tor Books (Mm)", "Tor"], "tor"),
        (["Little Brown & Co", "Little, Brown", "Little Brown and Company"], "little brown"),
        (["Harper Mass Market Paperbacks (Mm)", "Harper"], "harper"),
        (["Simon & Schuster", "Simon and Schuster Inc"], "simon and schuster"),
        (["Publishing Group"], "publishing group"),
        (["Not Avail", ""], None),
    ],
)
def test_publishers(same, key):
    assert {normal_publisher(name) for name in same} == {key}


@pytest.mark.parametrize(
    ("same", "key"),
    [
        (["Atonement : A Novel", "Atonement: a novel.", "ATONEMENT"], "atonement"),
        (["The Firm (Paperback)", "Firm [Large Print]", "Firm (unclosed"], "firm"),
        (["Angela's Ashes: A Memoir", "Angelas Ashes"], "angelas ashes"),
        (["Akira (Akira, Vol. 3)", "Akira (Volume 3)"], "akira vol 3"),
        (["The Whistle (Cat Who... (Audio))"], "whistle"),
        (["Pride & Prejudice", "Pride and Prejudice (Penguin Classics)"], "pride and prejudice"),
        (["The Never-Ending Story"], "never ending story"),
        (["A"], "a"),
        (["(Untitled)"], "untitled"),
        (["A Novel"], "novel"),
    ],
)
def test_titles(same, key):
    assert {normal_title(title) for title in same} == {key}


@pytest.mark.parametrize(
    ("given", "country"),
    [
        ("u.s.a.", "usa"),
        ("united staes", "usa"),
        ("united kindgonm", "united kingdom"),
        ("u.k.", "united kingdom"),
        ("england", "united kingdom"),
        ("españa", "spain"),
        ("l'italia", "italy"),
        ("cananda", "canada"),
        ("phillipines", "philippines"),
        ("equatorial geuinea", "equatorial guinea"),
        ('sri lanka"n/a"', "sri lanka"),
        ("pakistan.", "pakistan"),
        ("niger", "niger"),
        ("nigeria", "nigeria"),
        ("guinea", "guinea"),
        ("mordor", None),
        ("02458", None),
        (None, None),
    ],
)
def test_countries(given, country):
    assert normal_country(given) == country


def test_a_country_is_its_own_name():
    assert {normal_country(name) for name in COUNTRIES} == COUNTRIES
