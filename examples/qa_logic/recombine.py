"""More pairs for ATIS, made of the training pairs alone: python recombine.py PAIRS.tsv COPIES OUT.tsv

Each pair is written as it is and COPIES times with its entities exchanged, in question and form alike, for
others of their kind (Jia & Liang 2016, "abstracting entities"): what is said of Boston is said of Tacoma,
too. Which words of a question stand for an entity is known of names (`salt lake city`), of days of the month
and of hours, and learnt of airlines: words that occur with one airline and hardly without it. A pair in which
that is not plain stays as it is.
"""

import random
import sys
from collections import Counter, defaultdict
from itertools import pairwise

from prepare import cut, join

ORDINALS = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *("eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth"),
    *("eighteenth", "nineteenth", "twentieth"),
]
ORDINALS += [f"twenty {day}" for day in ORDINALS[:9]] + ["thirtieth", "thirty first"]
NAMED = (":_ci", ":_da", ":_mn", ":_fn", ":_yr", ":_me")
"""Kinds of entities that are called by their names."""
GOES_ON = {"airport", "international", "city", "dc", "fort"}
"""Words after a name that are part of it, or change what it is."""
Lexicon = dict[str, list[str]]
"""The phrases that stand for an entity, most usual first."""


def entities(form: str) -> list[str]:
    return sorted({token for token in form.split() if ":_" in token and not token.startswith("_")})


def kind(entity: str) -> str:
    return entity[entity.index(":_") :]


def hours(entity: str) -> list[str]:
    """Of 1700:_ti: 5pm, 5 pm, 5 o'clock pm, 1700."""
    time = int(entity.split(":")[0])
    hour, minute = divmod(time, 100)
    half, hour = "am" if hour < 12 else "pm", (hour - 1) % 12 + 1
    said = f"{hour}{minute:02}" if minute else str(hour)
    return [f"{said}{half}", f"{said} {half}", f"{said} o'clock {half}", *([str(time)] if minute else [])]


def learn(pairs: list[tuple[str, str]]) -> Lexicon:
    """The lexicon of the pairs."""
    found: Lexicon = {}
    count: Counter[str] = Counter()
    together: dict[str, Counter[str]] = defaultdict(Counter)
    for question, form in pairs:
        words = question.split()
        phrases = {*words, *map(" ".join, pairwise(words))}
        count.update(phrases)
        for entity in entities(form):
            together[entity].update(phrases)
    for entity, phrases in together.items():
        if kind(entity) == ":_dn":
            found[entity] = [ORDINALS[int(entity.split(":")[0]) - 1]]
        elif kind(entity) == ":_ti":
            found[entity] = hours(entity)
        elif kind(entity) == ":_al":
            sure = [p for p, n in phrases.items() if n >= 3 and n >= 0.95 * count[p]]
            airline = [p for p in sure if p in ("us air",) or p.endswith(" airlines") or " " not in p]
            found[entity] = sorted(airline, key=lambda p: -phrases[p])[:2]
        elif kind(entity) in NAMED:
            name = entity.split(":")[0].replace("_", " ")
            found[entity] = [name.replace("st ", "st. ") if name.startswith("st ") else name]
    return {entity: phrases for entity, phrases in found.items() if phrases}


def occurrences(words: list[str], phrase: list[str]) -> list[int]:
    return [i for i in range(len(words)) if words[i : i + len(phrase)] == phrase]


def exchange(question: str, form: str, lexicon: Lexicon, rng: random.Random) -> tuple[str, str]:
    """One pair with every entity whose place is plain exchanged for another of its kind."""
    words, tokens = question.split(), form.split()
    places: list[tuple[int, int, str]] = []
    for entity in entities(form):
        found = [
            (at[0], at[0] + len(phrase.split()))
            for phrase in sorted(lexicon.get(entity, []), key=len, reverse=True)
            if len(at := occurrences(words, phrase.split())) == 1
        ]
        if found and (found[0][1] == len(words) or words[found[0][1]] not in GOES_ON):
            places.append((*found[0], entity))
    taken = set(entities(form))
    exchanged: dict[str, str] = {}
    for start, end, entity in sorted(places, reverse=True):
        if any(s < end and start < e and other != entity for s, e, other in places):
            continue  # two entities claim one word
        others = [e for e in lexicon if kind(e) == kind(entity) and e not in taken]
        if not others:
            continue
        other = rng.choice(others)
        taken.add(other)
        exchanged[entity] = other
        words[start:end] = rng.choice(lexicon[other]).split()
    return " ".join(words), " ".join(exchanged.get(token, token) for token in tokens)


def more(pairs: list[tuple[str, str]], copies: int, rng: random.Random) -> list[tuple[str, str]]:
    """The pairs, each followed by those made of it."""
    lexicon, result = learn(pairs), list[tuple[str, str]]()
    for question, form in pairs:
        made = [exchange(question, form, lexicon, rng) for _ in range(copies)]
        result += [(question, form), *(pair for pair in made if pair[0] != question)]
    return result


def main(source: str, copies: str, out: str) -> None:
    with open(source, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    pairs = more([(row[0], join(row[1])) for row in rows], int(copies), random.Random(0))
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(f"{question}\t{cut(form)}\n" for question, form in pairs)


if __name__ == "__main__":
    main(*sys.argv[1:])
