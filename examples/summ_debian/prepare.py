"""Debian package descriptions as pairs for `seq2seq-fast train`: python prepare.py SPLIT.tsv.xz OUT.tsv

In: lines of package TAB synopsis TAB description. Out: description TAB synopsis, lower-cased (ROUGE does not
tell case), words and punctuation apart, so that a word of the description is the same token in the synopsis
and can be copied.
"""

import lzma
import re
import sys


def tokens(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower()))


def main(source: str, out: str) -> None:
    with lzma.open(source, "rt", encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as pairs:
        for line in lines:
            _, synopsis, description = line.rstrip("\n").split("\t")[:3]
            pairs.write(f"{tokens(description)}\t{tokens(synopsis)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
