"""Where a reader lives: the text "city, region, country" of Book-Crossing taken apart, the country spelt one way."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from difflib import get_close_matches

from recprune.data.names import clean_text

__all__ = ["COUNTRIES", "normal_country", "split_locations"]

_NAMES = """
afghanistan, albania, alderney, algeria, american samoa, andorra, angola, antarctica, antigua and barbuda,
argentina, armenia, aruba, australia, austria, azerbaijan, bahamas, bahrain, bangladesh, barbados, belarus,
belgium, belize, benin, bermuda, bhutan, bolivia, bosnia and herzegovina, botswana, brazil, british virgin
islands, brunei, bulgaria, burkina faso, burma, cambodia, cameroon, canada, cape verde, cayman islands, chad,
channel islands, chile, china, colombia, comoros, congo, costa rica, cote d'ivoire, croatia, cuba, cyprus, czech
republic, denmark, djibouti, dominica, dominican republic, ecuador, egypt, el salvador, equatorial guinea,
eritrea, estonia, ethiopia, faroe islands, fiji, finland, france, gabon, gambia, georgia, germany, ghana,
greece, grenada, guam, guatemala, guernsey, guinea, guinea-bissau, guyana, haiti, holy see, honduras, hong kong,
hungary, iceland, india, indonesia, iran, iraq, ireland, isle of man, israel, italy, jamaica, japan, jersey,
jordan, kazakhstan, kenya, kiribati, kosovo, kuwait, kyrgyzstan, laos, latvia, lebanon, lesotho, liberia, libya,
lithuania, luxembourg, macau, macedonia, madagascar, malawi, malaysia, maldives, mali, malta, marshall islands,
mauritania, mauritius, mexico, micronesia, moldova, monaco, mongolia, morocco, mozambique, namibia, nepal,
netherlands, netherlands antilles, new zealand, nicaragua, niger, nigeria, north korea, northern mariana
islands, norway, oman, pakistan, palau, palestine, panama, papua new guinea, paraguay, peru, philippines,
poland, portugal, puerto rico, qatar, romania, russia, rwanda, saint helena, saint kitts and nevis, saint lucia,
saint vincent and the grenadines, samoa, san marino, sao tome and principe, saudi arabia, senegal, serbia and
montenegro, sierra leone, singapore, slovakia, slovenia, solomon islands, somalia, south africa, south korea,
spain, sri lanka, sudan, suriname, swaziland, sweden, switzerland, syria, taiwan, tajikistan, tanzania,
thailand, togo, tonga, trinidad and tobago, tunisia, turkey, turkmenistan, u.s. virgin islands, uganda, ukraine,
united arab emirates, united kingdom, uruguay, usa, uzbekistan, vanuatu, venezuela, vietnam, yemen, yugoslavia,
zambia, zimbabwe
"""
COUNTRIES = frozenset(name.strip() for name in _NAMES.replace("\n", " ").split(","))
"""The names that a country can have here, as of the data (2004)."""

# What a country is also called in the data: other names, other languages, parts of it. Slips of the pen are found by
# likeness.
_ALSO = {
    "usa": (
        "united states|united states of america|us|u.s|america|u.s. of a|"
        "los estados unidos de norte america|ee.uu|u.s>|u.s.a>|u.s.a!|usa & canada|good old usa !|"
        "good old u.s.a|wonderful usa|uusa|ysa|united state|united statea|unite states|"
        "united stated of america|美国|california|texas|ohio|maine|missouri|north carolina|nyc|pa|nh|az|"
        "usa (currently living in england)"
    ),
    "united kingdom": (
        "uk|u.k|u k|gb|great britain|england|england uk|scotland|wales|northern ireland|london|english|"
        "west yorkshire|united kindgdom|united kindgonm"
    ),
    "germany": "deutschland|deutsches reich|bavaria|baden-württemberg|bademn würtemberg|nrw|geermany",
    "spain": (
        "españa|espana|catalunya|catalonia|catalunya spain|catalunya(catalonia)|euskal herria|euskadi|"
        "basque country|galiza|galiza neghra|espanha / galiza|asturies|lleida|madrid|ama lurra|orense"
    ),
    "italy": (
        "itlay|italia|l'italia|italien|lombardia|lazio|sardegna|sardinia|calabria|sicilia|basilicata|toscana|"
        "milano|roma|vicenza|ferrara|lecce"
    ),
    "france": "la france",
    "netherlands": "holland|the netherlands|nederlands|nl",
    "belgium": "belgique|la belgique|belgi",
    "switzerland": "suisse|la suisse|la svizzera|svizzera|schweiz",
    "canada": "canda|le canada|il canada|can|canada eh|the great white north",
    "china": (
        "p.r.china|p.r. china|p r china|p.r.c|prc|cn|chian|cnina|people's republic of china|"
        "china people's republic|中国|öð¹ú|china öð¹ú|chinaöð¹ú|la chine eternelle|la chine éternelle|"
        "la chine éternelle !|la chine eternelle!|la chine éternelle!|zhengjiang|liaoning"
    ),
    "taiwan": "r.o.c",
    "south korea": "korea|republic of korea|s.corea",
    "philippines": "the philippines|philippine|phils",
    "brazil": "brasil|_ brasil",
    "israel": "isreal",
    "argentina": "la argentina",
    "mexico": "méxico|monterrey|distrito federal",
    "peru": "perú",
    "uruguay": "urugua",
    "algeria": "algérie|l'algérie",
    "morocco": "maroc",
    "mozambique": "moçambique",
    "madagascar": "le madagascar",
    "turkey": "türkiye|turkei",
    "poland": "polska",
    "slovakia": "slovak republik",
    "slovenia": "slo|lj",
    "croatia": "harvatija",
    "bosnia and herzegovina": "bosnia|bih",
    "serbia and montenegro": "serbia|serbia & montenegro",
    "russia": "russian federation",
    "kazakhstan": "kz",
    "ukraine": "ua|ukrain",
    "united arab emirates": "uae|u.a.e",
    "saudi arabia": "ksa",
    "south africa": "rsa|s.africa|cape town",
    "new zealand": "nz|aotearoa|auckland",
    "australia": "queensland|victoria|austbritania",
    "malaysia": "my|w. malaysia|malaysian",
    "thailand": "bkk",
    "burma": "myanmar",
    "brunei": "brunei darussalam",
    "holy see": "vatican city",
    "san marino": "rep san marino|rep. san marino",
    "oman": "sultanate of oman",
    "panama": "republic of panama",
    "cote d'ivoire": "côte d|côte d'ivoire|ivory coast",
    "trinidad and tobago": "trinidad|tobago|trinidad & tobago|trinidad/tobago",
    "antigua and barbuda": "antigua & barbuda",
    "saint vincent and the grenadines": "st. vincent and the grenadines",
    "saint helena": "st. helena",
    "northern mariana islands": "commonwealth of northern mariana islands",
    "marshall islands": "rmi",
    "gambia": "the gambia",
    "greece": "greece (=hellas)",
    "denmark": "copenhagen",
    "swaziland": "swazilandia",
    "puerto rico": "pr",
}
_ALIASES = {alias: country for country, also in _ALSO.items() for alias in also.split("|") if alias}
_NOTHING = frozenset(["", "n/a", "na", "none", "unknown", "-", "--", "---", ".", "*", "x", "?"])


def _part(text: str) -> str | None:
    text = text.strip(" \t\r\n\"'").replace("`", "'")
    return None if text in _NOTHING else text


def normal_country(text: str | None) -> str | None:
    """Name the country that is meant, or None.

    >>> [normal_country(name) for name in ("usa", "u.s.a.", "españa", "philippinies", "fairyland")]
    ['usa', 'usa', 'spain', 'philippines', None]
    """
    if text is None or text in COUNTRIES:
        return text
    text = re.sub(r'[.\s"]+$|"?n/a"?$', "", text).strip()
    if text in COUNTRIES:
        return text
    if text in _ALIASES or text + "." in _ALIASES:
        return _ALIASES.get(text) or _ALIASES[text + "."]
    if text.replace(".", "") in ("us", "usa", "uk"):
        return "united kingdom" if "k" in text else "usa"
    near = get_close_matches(text, COUNTRIES | {"united states"}, 1, 0.85) if len(text) > 5 else []
    return _ALIASES.get(near[0], near[0]) if near else None


def split_locations(locations: Sequence[str]) -> tuple[list[tuple[str | None, str | None, str | None]], dict[str, int]]:
    """Split locations into (city, region, country), and count what was repaired or nulled.

    The last part is the country, the one before it the region, the rest the city. Where the country is missing or no
    country, it is taken from the region, if at least 20 readers name that region and 9 of 10 live in one country.
    """
    parsed: list[tuple[str | None, str | None, str | None]] = []
    lived: defaultdict[str, Counter[str]] = defaultdict(Counter)
    memo: dict[str | None, str | None] = {}
    repairs = Counter(
        {"country repaired": 0, "country taken from region": 0, "country nulled": 0, "country missing": 0}
    )
    for location in locations:
        parts = clean_text(location).lower().rsplit(",", 2)
        city, region, given = (
            _part(part) for part in (parts if len(parts) == 3 else [*parts, *[""] * (3 - len(parts))])
        )
        if given not in memo:
            memo[given] = normal_country(given)
        if region and (country := memo[given]):
            lived[region][country] += 1
        parsed.append((city, region, given))
    home = {}
    for region, counts in lived.items():
        country, most = counts.most_common(1)[0]
        if counts.total() >= 20 and most >= 0.9 * counts.total():
            home[region] = country
    result = []
    for city, region, given in parsed:
        country_ = memo[given]
        if country_ is not None and country_ != given:
            repairs["country repaired"] += 1
        elif country_ is None and region is not None and (country_ := home.get(region)):
            repairs["country taken from region"] += 1
        elif country_ is None:
            repairs["country missing" if given is None else "country nulled"] += 1
        result.append((city, region, country_))
    return result, dict(repairs)
