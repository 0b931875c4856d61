"""ATIS questions and logical forms as pairs for `seq2seq-fast train`: python prepare.py SPLIT.tsv.gz OUT.tsv

In a logical form an entity is one token, `san_francisco:_ci`. Here it is cut into its words and its kind,
`san francisco :_ci`: the words are then the question's own, and may be copied. `join` puts them together
again; two forms are equal if and only if their cut forms are, so exact match can be measured on either.
"""

import gzip
import sys


def cut(form: str) -> str:
    """Cut the entities of a logical form."""
    tokens = []
    for token in form.split():
        entity, colon, kind = token.partition(":")
        is_entity = colon and kind.startswith("_") and not token.startswith("_")
        tokens += [*entity.split("_"), ":" + kind] if is_entity else [token]
    return " ".join(tokens)


def join(form: str) -> str:
    """Undo `cut`."""
    tokens: list[str] = []
    for token in form.split():
        if not token.startswith(":_"):
            tokens.append(token)
            continue
        words: list[str] = []
        while tokens and ":" not in tokens[-1] and not tokens[-1].startswith(("_", "$", "(", ")")):
            words.append(tokens.pop())
        tokens.append("_".join(reversed(words)) + token)
    return " ".join(tokens)


def main(source: str, out: str) -> None:
    with gzip.open(source, "rt", encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as pairs:
        for line in lines:
            question, form = line.rstrip("\n").split("\t")[:2]
            assert join(cut(form)) == " ".join(form.split()), form
            pairs.write(f"{question}\t{cut(form)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
