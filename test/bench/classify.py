#!/usr/bin/python3
"""Classification by probabilities beside free answers: how often right, and how fast.

    eval "$(test/cluster.sh env)"; test/bench/classify.py [--rows N] [--rounds N]

Held-out rows of the embedded model's tasks with a label for an answer (test/model/data.py: sentiment and route), each row
with the system message that it has there, English or Chinese. In turns, glm_generate answers freely at temperature 0, and
glm_classify weighs the labels behind the same prompt: in a transaction that is rolled back the prompt of its task is made
{instructions} alone, as the model has learnt it. Both keep their rows in flight, and nothing is taken from the prefix cache
that another statement left (option cache). Prints for each task and function how many rows were right, the median
milliseconds of a row, and its quartiles over the rounds.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import psycopg

LABELS = {"sentiment": ["positive", "negative", "neutral"],
          "route": ["billing", "shipping", "returns", "technical", "account", "sales"]}
ANSWERED = """SELECT count(*) FILTER (WHERE glm_generate(prompt, system => system, temperature => 0, max_tokens => 16,
                                                         options => '{"cache": false}') = expected)
                FROM held_out WHERE task = %s"""
CLASSIFIED = """SELECT count(*) FILTER (WHERE glm_classify(prompt, %s::text[], system, options => '{"cache": false}') = expected)
                  FROM held_out WHERE task = %s"""
HERE = os.path.dirname(os.path.abspath(__file__))


def held_out(rows):
    made = subprocess.run([sys.executable, os.path.join(HERE, "..", "model", "data.py"), str(rows)],
                          check=True, capture_output=True, text=True).stdout
    return [row for row in map(json.loads, made.splitlines()) if row["task"] in LABELS]


def timed(conn, query, parameters):
    begin = time.monotonic()
    right, = conn.execute(query, parameters).fetchone()
    return right, time.monotonic() - begin


def print_row(task, function, right, rows, seconds):
    each = [1000 * s / rows for s in seconds]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
    print(f"{task:10} {function:14} {right:5} of {rows} right   {middle:7.3f} ms a row   ({low:.3f} to {high:.3f})")
    return middle


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500, help="of each task")
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    with psycopg.connect("dbname=postgres") as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS chatglm")
        conn.execute(r"UPDATE chatglm.task_prompt SET text = E'{instructions}\n---\n{content}' WHERE name = 'classify' AND language = 'en'")
        conn.execute("CREATE TEMP TABLE held_out (task text, system text, prompt text, expected text)")
        with conn.cursor().copy("COPY held_out FROM STDIN") as copy:
            for row in held_out(a.rows):
                copy.write_row((row["task"], row["system"], row["prompt"], row["expected"]))
        conn.execute("ANALYZE held_out")
        for task, labels in LABELS.items():
            free, weighed = [], []
            timed(conn, ANSWERED, (task,))      # the model is in memory from here on
            for _ in range(a.rounds):
                answered, seconds = timed(conn, ANSWERED, (task,))
                free.append(seconds)
                classified, seconds = timed(conn, CLASSIFIED, (labels, task))
                weighed.append(seconds)
            slow = print_row(task, "glm_generate", answered, a.rows, free)
            fast = print_row(task, "glm_classify", classified, a.rows, weighed)
            print(f"{task:10} {'share of time':14} {fast / slow:.2f}")
        conn.rollback()


main()
