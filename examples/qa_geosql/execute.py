"""Asks the database: python execute.py MODEL SPLIT.tsv.gz DUMP.sql.gz

Prints how many SQL templates are exactly right, how many queries give the right answer once the question's
names are filled in, and some examples.
"""

import csv
import gzip
import json
import sqlite3
import sys
from pathlib import Path

from prepare import quote

from seq2seq_fast import Translator
from seq2seq_fast.sql_metrics import execution_accuracy, fill_variables


def main(model: str, split: str, dump: str) -> None:
    with gzip.open(split, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    with Translator(Path(model)) as translator:
        questions = [row["question_template"].split() for row in rows]
        found = translator.translate_batch(questions, beam_size=1, max_decoding_length=200)
    templates = [quote(" ".join(result.hypotheses[0])) for result in found]
    exact = [template == row["sql_template"] for template, row in zip(templates, rows, strict=True)]

    database = sqlite3.connect(":memory:")
    database.executescript(gzip.decompress(Path(dump).read_bytes()).decode())
    queries = [
        fill_variables(template, json.loads(row["variables_json"]))
        for template, row in zip(templates, rows, strict=True)
    ]
    result = execution_accuracy(queries, [row["sql"] for row in rows], database)
    print(f"{len(rows)} questions: exact SQL template {100 * sum(exact) / len(rows):.2f} %")
    print(f"execution accuracy {100 * result.accuracy:.2f} % of {result.measured}")
    print(f"({result.left_out} right queries fail or give nothing)")
    for right in (True, False):
        shown = [i for i, good in enumerate(exact) if good == right][:3]
        for i in shown:
            print(f"\n{'right' if right else 'wrong'}: {rows[i]['question']}\n  model     {queries[i]}")
            if not right:
                print(f"  reference {rows[i]['sql']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
