"""GeoQuery's questions and SQL as pairs for `seq2seq-fast train`: python prepare.py SPLIT.tsv.gz OUT.tsv

Both as templates, in which names are variables: `what rivers run through state_name0`.
"""

import csv
import gzip
import sys


def main(source: str, out: str) -> None:
    with gzip.open(source, "rt", encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as pairs:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            pairs.write(f"{row['question_template']}\t{row['sql_template']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
