"""The words of the small world: facts, names, things. Every word here is one token with a leading space."""

from __future__ import annotations

from typing import NamedTuple


def _words(text: str) -> tuple[str, ...]:
    """The words of a text that is written with spaces between them."""
    return tuple(text.split())


class Country(NamedTuple):
    """One row of the world's facts."""

    name: str
    capital: str
    language: str
    currency: str
    continent: str


_COUNTRIES = """
Albania Tirana Albanian lek Europe
Armenia Yerevan Armenian dram Asia
Australia Canberra English dollar Oceania
Austria Vienna German euro Europe
Bangladesh Dhaka Bengali taka Asia
Belgium Brussels Dutch euro Europe
Brazil Brasilia Portuguese real America
Bulgaria Sofia Bulgarian lev Europe
Canada Ottawa English dollar America
Chile Santiago Spanish peso America
China Beijing Chinese yuan Asia
Croatia Zagreb Croatian euro Europe
Cuba Havana Spanish peso America
Denmark Copenhagen Danish krone Europe
Egypt Cairo Arabic pound Africa
England London English pound Europe
Fiji Suva Fijian dollar Oceania
Finland Helsinki Finnish euro Europe
France Paris French euro Europe
Germany Berlin German euro Europe
Ghana Accra English cedi Africa
Greece Athens Greek euro Europe
Hungary Budapest Hungarian forint Europe
Iceland Reykjavik Icelandic krona Europe
India Delhi Hindi rupee Asia
Indonesia Jakarta Indonesian rupiah Asia
Iran Tehran Persian rial Asia
Iraq Baghdad Arabic dinar Asia
Ireland Dublin English euro Europe
Israel Jerusalem Hebrew shekel Asia
Italy Rome Italian euro Europe
Jamaica Kingston English dollar America
Japan Tokyo Japanese yen Asia
Jordan Amman Arabic dinar Asia
Kenya Nairobi Swahili shilling Africa
Korea Seoul Korean won Asia
Lebanon Beirut Arabic pound Asia
Mongolia Ulaanbaatar Mongolian tugrik Asia
Morocco Rabat Arabic dirham Africa
Nepal Kathmandu Nepali rupee Asia
Netherlands Amsterdam Dutch euro Europe
Nigeria Abuja English naira Africa
Norway Oslo Norwegian krone Europe
Pakistan Islamabad Urdu rupee Asia
Peru Lima Spanish sol America
Poland Warsaw Polish zloty Europe
Portugal Lisbon Portuguese euro Europe
Romania Bucharest Romanian leu Europe
Russia Moscow Russian ruble Europe
Senegal Dakar French franc Africa
Serbia Belgrade Serbian dinar Europe
Somalia Mogadishu Somali shilling Africa
Spain Madrid Spanish euro Europe
Sweden Stockholm Swedish krona Europe
Switzerland Bern German franc Europe
Tanzania Dodoma Swahili shilling Africa
Thailand Bangkok Thai baht Asia
Turkey Ankara Turkish lira Asia
Ukraine Kyiv Ukrainian hryvnia Europe
Vietnam Hanoi Vietnamese dong Asia
"""
COUNTRIES = tuple(Country(*row.split()) for row in _COUNTRIES.strip().splitlines())
RELATIONS = ("capital", "language", "currency", "continent")

LANDMARKS = {
    "Eiffel Tower": "France",
    "Colosseum": "Italy",
    "Acropolis": "Greece",
    "Brandenburg Gate": "Germany",
    "Tower Bridge": "England",
    "Great Pyramid": "Egypt",
    "Red Square": "Russia",
    "Forbidden City": "China",
}

WOMEN = _words("Mary Anna Emma Lucy Sarah Alice Jane Kate Laura Susan Helen Julia Nora Clara Rose Amy Ruth Eva")
MEN = _words("John Tom James Peter Paul David Mark Jack Henry Robert Simon Daniel Adam Luke Frank Oscar Bob Max")
NAMES = WOMEN + MEN

PLACES = _words("store park school office library garden station market beach museum kitchen farm restaurant house")
OBJECTS = _words("book ball drink ring cup hat box lamp pen bag key letter flower apple watch coat ticket gift")
COLOURS = _words("red blue green yellow black white brown pink purple orange gray")
ANIMALS = _words("cat dog cow pig hen fox bear wolf lion horse sheep goat duck frog fish mouse")
SUBJECTS = _words(
    "key cat dog boy girl teacher doctor nurse book bird car tree child king queen friend horse ship "
    "farmer writer "
    "picture door cabinet author man woman"
)
_IRREGULAR = {"child": "children", "man": "men", "woman": "women"}
MATERIALS = _words(
    "sun moon star rain snow wind fire stone river hill road bread milk salt sugar gold iron wood "
    "paper glass music "
    "chair table window water"
)
THINGS = tuple(sorted({*OBJECTS, *ANIMALS, *COLOURS, *SUBJECTS, *PLACES, *MATERIALS} - {"orange", "watch", "drink"}))

ADJECTIVES = _words(
    "old new big small happy sad tall young hot cold fast slow good bad rich poor long short dark light late "
    "nice tired hungry"
)
OPPOSITES = tuple(
    (pair.split("/")[0], pair.split("/")[1])
    for pair in _words(
        "hot/cold big/small old/young happy/sad tall/short fast/slow good/bad rich/poor dark/light "
        "up/down left/right "
        "day/night open/closed wet/dry full/empty high/low hard/soft early/late strong/weak love/hate "
        "true/false "
        "yes/no black/white near/far summer/winter north/south east/west above/below inside/outside begin/end"
    )
)

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words("January February March April May June July August September October November December")
NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen "
    "eighteen nineteen twenty"
)
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NUMBERS = tuple(str(number) for number in range(101))


def plural(noun: str) -> str:
    """The plural of a noun of this world."""
    return _IRREGULAR.get(noun, noun + "s")


def with_article(word: str) -> str:
    """The word after `a` or `an`."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def word_list() -> tuple[str, ...]:
    """Every word of the world, sorted: the words that the tokenizer keeps whole."""
    words = {field for country in COUNTRIES for field in country}
    words.update(word for pair in OPPOSITES for word in pair)
    words.update(word for landmark in LANDMARKS for word in landmark.split())
    for group in (NAMES, THINGS, OBJECTS, COLOURS, ADJECTIVES, DAYS, MONTHS, NUMBER_WORDS, LETTERS, NUMBERS):
        words.update(group)
    words.update(plural(noun) for noun in SUBJECTS)
    return tuple(sorted(words))
