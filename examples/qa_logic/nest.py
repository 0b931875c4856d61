"""More pairs for GEO, made of the training pairs alone: python nest.py PAIRS.tsv COPIES OUT.tsv

Where a question names a state, city or river, it may ask about `the longest river in the co0` as well (Jia &
Liang 2016, "abstracting whole phrases"): of each pair that names one, COPIES more are made, in which the name
gives way to a phrase that another question asks for, and in the form to that question's form, its variables
numbered on.
"""

import random
import re
import sys

ASKS = re.compile(
    r"(?:what|which) (?:is|are) (the .+)|name (the .+)|(?:what|which) ((?:state|citi|river) .+)"
)
FORM = re.compile(r"arg(?:max|min) \$0 (?:\( and )?\( (?:major:t \$0 \) \( )?(state|city|river):t \$0 \)")
NAMES = {"state": "s0", "city": "c0", "river": "r0"}
PLACEHOLDER = re.compile(r"\b[a-z]+[0-9]\b")
BINDERS = ("lambda", "argmax", "argmin", "count", "exists", "the", "sum", "capital:c")


def phrases(pairs: list[tuple[str, str]]) -> dict[str, list[tuple[str, list[str]]]]:
    """By kind the phrases that the questions ask for, with their forms."""
    found: dict[str, set[tuple[str, str]]] = {kind: set() for kind in NAMES}
    for question, form in pairs:
        asked = ASKS.fullmatch(question.strip())
        kind = FORM.match(form)
        if not (asked and kind):
            continue
        if asked[3]:  # which state border the most state -> the state that border the most state
            noun, rest = asked[3].split(" ", 1)
            if noun.replace("citi", "city") != kind[1] or rest.startswith(
                ("that ", "in ", "with ", "is ", "are ")
            ):
                continue
            phrase = f"the {noun} that {rest}"
        else:
            phrase = asked[1] or asked[2]
        found[kind[1]].add((phrase, form.strip()))
    return {kind: [(phrase, form.split()) for phrase, form in sorted(some)] for kind, some in found.items()}


def renumbered(form: list[str], by: int) -> list[str]:
    return [f"${int(token[1:]) + by}" if token.startswith("$") else token for token in form]


def depth(before: list[str]) -> int:
    """How many variables are bound, and capitals asked for, around the end of these tokens."""
    bound, outer = 0, list[int]()
    for token in before:
        if token == "(":
            outer.append(bound)
        elif token == ")":
            bound = outer.pop()
        bound += token in BINDERS
    return bound


def nested(question: str, form: str, name: str, phrase: str, inner: list[str]) -> tuple[str, str]:
    """The pair with a name replaced by a phrase."""
    tokens = form.split()
    at = tokens.index(name)
    tokens[at : at + 1] = ["(", *renumbered(inner, depth(tokens[:at])), ")"]
    words = re.sub(rf"(?:the )?\b{name}\b", phrase, question)
    return words, " ".join(tokens)


def more(pairs: list[tuple[str, str]], copies: int, rng: random.Random) -> list[tuple[str, str]]:
    """The pairs, each followed by those made of it."""
    asked, result = phrases(pairs), list[tuple[str, str]]()
    for question, form in pairs:
        result.append((question, form))
        for kind, name in NAMES.items():
            if question.split().count(name) != 1 or form.split().count(name) != 1:
                continue
            others = PLACEHOLDER.search(question.replace(name, ""))  # then no phrase with a name of its own
            fit = [pair for pair in asked[kind] if not (others and PLACEHOLDER.search(pair[0]))]
            chosen = rng.sample(fit, min(copies, len(fit)))
            result += [nested(question, form, name, phrase, inner) for phrase, inner in chosen]
    return result


def main(source: str, copies: str, out: str) -> None:
    with open(source, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    pairs = more([(row[0], row[1]) for row in rows], int(copies), random.Random(0))
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(f"{question}\t{form}\n" for question, form in pairs)


if __name__ == "__main__":
    main(*sys.argv[1:])
