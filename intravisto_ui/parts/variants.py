"""Other prompts of the same pattern, to test a claim on: other names, other countries, other words of the same kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from intravisto_core.engine import Engine
from intravisto_core.errors import IntravistoError
from intravisto_ui.session.question import name_token
from intravisto_ui.session.tokenizing import tokenize

MOST = 12
NAMES = ("Mary", "John", "Tom", "Anna", "Peter", "Emma", "James", "Sarah", "David", "Laura", "Paul", "Alice", "Mark")
CAPITALS = {
    "Italy": "Rome",
    "France": "Paris",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "Greece": "Athens",
    "Russia": "Moscow",
    "Austria": "Vienna",
    "Egypt": "Cairo",
    "England": "London",
    "Poland": "Warsaw",
    "Norway": "Oslo",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Hungary": "Budapest",
}
FAMILIES = (
    ("key", "cup", "book", "car", "dog", "cat", "box", "tree", "house", "ball", "door", "bird", "hat"),
    ("keys", "cups", "books", "cars", "dogs", "cats", "boxes", "trees", "houses", "balls", "doors", "birds", "hats"),
    ("red", "blue", "green", "black", "white", "yellow", "brown", "pink", "grey", "orange"),
    ("cold", "big", "old", "long", "good", "hot", "small", "new", "short", "bad", "high", "low", "fast", "slow"),
    ("store", "park", "school", "office", "beach", "station", "garden", "market", "hospital", "cinema", "museum"),
)
_ID = re.compile(r"id (\d{1,9})")
PLURALS = dict(zip(FAMILIES[0], FAMILIES[1], strict=True))


@dataclass(frozen=True, slots=True)
class Variant:
    """A prompt, and the tokens that are held against each other in it: texts or ids; "" takes the model's own."""

    prompt: str
    target: str | int = ""
    contrast: str | int = ""

    def write(self) -> str:
        """As a line that `read_lines` reads."""
        tokens = (f"id {token}" if isinstance(token, int) else token for token in (self.target, self.contrast))
        return " | ".join((self.prompt, *tokens)).removesuffix(" |  | ").rstrip("| ")


def name_in_line(engine: Engine, id: int, shown: str) -> str | int:
    """A token as a line can name it: a text that reads as this token alone and stays what it is there, else its id."""
    typed = name_token(engine, int(id), shown).typed
    line = Variant("x", typed, typed)
    return typed if read_lines(line.write()) == (line,) else int(id)


def write_variants(engine: Engine, prompt: str, target: str | int, contrast: str | int) -> tuple[Variant, ...]:
    """The prompt itself, and at most eleven others that the model reads as just as many tokens.

    target, contrast: of the prompt; where they are names or capitals, they change with the prompt.
    """
    own = Variant(prompt, target, contrast)
    found = {own.prompt: own}
    n = _count(engine, prompt)
    for one in (*_with_names(own), *_with_countries(own), *_with_families(own)):
        if len(found) >= MOST:
            break
        if one.prompt not in found and _count(engine, one.prompt) == n:
            found[one.prompt] = one
    return tuple(found.values())


def _count(engine: Engine, text: str) -> int:
    try:
        return len(tokenize(engine, text))
    except IntravistoError:
        return -1


def _swap(text: str, words: dict[str, str]) -> str:
    """Whole words replaced, all at once."""
    if not words:
        return text
    pattern = "|".join(map(re.escape, words))
    return re.sub(rf"\b(?:{pattern})\b", lambda match: words[match[0]], text)


def _change(own: Variant, words: dict[str, str]) -> Variant:
    tokens = (_swap(token, words) if isinstance(token, str) else token for token in (own.target, own.contrast))
    return Variant(_swap(own.prompt, words), *tokens)


def _words_of(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\b\w+\b", text)))


def _with_names(own: Variant) -> list[Variant]:
    here = [word for word in _words_of(own.prompt) if word in NAMES]
    others = [name for name in NAMES if name not in here]
    if len(here) == 1:
        return [_change(own, {here[0]: other}) for other in others]
    if len(here) < 2:
        return []
    first, second = here[:2]
    pairs = [(second, first), *(pair for one, two in pairwise(others) for pair in ((one, two), (two, one)))]
    return [_change(own, {first: one, second: two}) for one, two in pairs]


def _with_countries(own: Variant) -> list[Variant]:
    here = [word for word in _words_of(own.prompt) if word in CAPITALS]
    if not here:
        return []
    first = here[0]
    cities = {city: country for country, city in CAPITALS.items()}
    rival = cities.get(str(own.contrast).strip())
    found = []
    for other in CAPITALS:
        if other in (first, rival):
            continue
        found.append(_change(own, {first: other, CAPITALS[first]: CAPITALS[other]}))
    return found


def _with_families(own: Variant) -> list[Variant]:
    """Other words of the kind of one that stands in the prompt and is neither target nor contrast."""
    kept = {str(token).strip() for token in (own.target, own.contrast)}
    for family in FAMILIES:
        here = [word for word in _words_of(own.prompt) if word in family and word not in kept]
        if here:
            others = [other for other in family if other != here[0] and other not in kept]
            return [_change(own, _with_plural(here[0], other)) for other in others]
    return []


def _with_plural(word: str, other: str) -> dict[str, str]:
    """One word for another, and its plural for the other's where both are known."""
    return {word: other} | ({PLURALS[word]: PLURALS[other]} if word in PLURALS else {})


def read_lines(text: str) -> tuple[Variant, ...]:
    """Prompts, one a line; after a bar may follow the target, and after another the contrast: a text, or `id 17`."""
    found = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        prompt, *tokens = line.split(" | ")
        named = (int(found_id[1]) if (found_id := _ID.fullmatch(text)) else text for text in (*tokens, "", "")[:2])
        found.append(Variant(prompt, *named))
    return tuple(found)
