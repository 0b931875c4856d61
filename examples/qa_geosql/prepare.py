"""GeoQuery's questions and SQL as pairs for `seq2seq-fast train`: python prepare.py SPLIT.tsv.gz OUT.tsv

Both as templates, in which names are variables: `what rivers run through state_name0`. In SQL these stand in
quotes, `"state_name0"`; here without, so that a variable is the same token on both sides and can be copied.
`quote` puts the quotes back.
"""

import csv
import gzip
import re
import sys


def unquote(template: str) -> str:
    """Take the quotes off an SQL template's variables."""
    return re.sub(r'"([a-z_]+\d+)"', r"\1", template)


def quote(template: str) -> str:
    """Undo `unquote`."""
    return re.sub(r"(?<!\S)([a-z_]+\d+)(?!\S)", r'"\1"', template)


def main(source: str, out: str) -> None:
    with gzip.open(source, "rt", encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as pairs:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            assert quote(unquote(row["sql_template"])) == row["sql_template"], row["sql_template"]
            pairs.write(f"{row['question_template']}\t{unquote(row['sql_template'])}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
