#!/usr/bin/python3
"""Classification by probabilities beside free answers: how often right, and how fast.

    eval "$(test/cluster.sh env)"; test/bench/classify.py [--rows N] [--rounds N] [--model NAME] [--labels N]

Held-out rows of the embedded model's tasks with a label for an answer (test/model/data.py: sentiment and route), each row
with the system message that it has there, English or Chinese. glm_generate answers freely at temperature 0, and
glm_classify weighs the labels behind the same prompt: in a transaction that is rolled back the prompt of its task is made
{instructions} alone, as the model has learnt it. First both are asked about all rows, for how often they are right; then they
are timed in turns, each time on rows that nobody asked about before, so that both find the system message in the cache and
nothing else: first a row after the other, then many in flight. Prints the median milliseconds of a row and its quartiles, and
how many rows the model computed for each: tokens of the prompt that were not cached, and of the answer.

Then labels as users have them, some of them alike for several tokens (--labels, 12 and 48): an answer that is one of them by the
option "choices" beside glm_classify and glm_classify_scores. That says nothing of accuracy: the embedded model has not learnt
these, and one with random weights (--model, a name that is registered) nothing at all; --labels-only leaves the rest out.
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
                                                         options => %(options)s) = expected)
                FROM held_out WHERE task = %(task)s AND part = ANY (%(parts)s)"""
CLASSIFIED = """SELECT count(*) FILTER (WHERE glm_classify(prompt, %(labels)s::text[], system, options => %(options)s) = expected)
                  FROM held_out WHERE task = %(task)s AND part = ANY (%(parts)s)"""
QUEUES = ["account", "billing", "delivery", "exchange", "order", "password", "refund", "return"]
REASONS = ["cancelled by mistake", "changed", "charged twice", "damaged", "late", "lost"]
CHOSEN = """SELECT count(glm_generate(prompt, system => %(system)s, temperature => 0, max_tokens => 32, model => %(model)s,
                                      options => jsonb_build_object('choices', to_jsonb(%(labels)s::text[]))))
              FROM held_out WHERE task = 'route' AND part = %(part)s"""
LIKELIEST = """SELECT count(glm_classify(prompt, %(labels)s::text[], %(system)s, model => %(model)s))
                 FROM held_out WHERE task = 'route' AND part = %(part)s"""
WEIGHED = """SELECT count(glm_classify_scores_array(prompt, %(labels)s::text[], %(system)s, model => %(model)s))
               FROM held_out WHERE task = 'route' AND part = %(part)s"""
HERE = os.path.dirname(os.path.abspath(__file__))


def held_out(rows):
    made = subprocess.run([sys.executable, os.path.join(HERE, "..", "model", "data.py"), str(rows)],
                          check=True, capture_output=True, text=True).stdout
    return [row for row in map(json.loads, made.splitlines()) if row["task"] in LABELS]


def timed(conn, query, task, parts, cache=True):
    """-> rows that were right, seconds"""
    begin = time.monotonic()
    right, = conn.execute(query, {"task": task, "labels": LABELS[task], "parts": parts,
                                  "options": json.dumps({"cache": cache})}).fetchone()
    return right, time.monotonic() - begin


def median(task, what, rows, seconds):
    each = [1000 * s / rows for s in seconds]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
    print(f"{task:10} {what:34} {middle:7.2f} ms a row   ({low:.2f} to {high:.2f})")
    return middle


def count_rows(conn, query, task, part, rows):
    """-> rows that the model computed for each row of the query: of its prompt, of its answer"""
    plan, = conn.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query,
                         {"task": task, "labels": LABELS[task], "parts": [part], "options": "{}"}).fetchone()
    node = plan[0]["Plan"]
    while "Prompt Tokens" not in node:
        node = node["Plans"][0]
    return (node["Prompt Tokens"] - node["Cached Tokens"]) / rows, node["Generated Tokens"] / rows


def measure(conn, task, rounds, rows):
    for query, name in (ANSWERED, "glm_generate"), (CLASSIFIED, "glm_classify"):
        right, _ = timed(conn, query, task, list(range(4 * rounds)), cache=False)
        print(f"{task:10} {name:34} {right} of {4 * rounds * rows} right")
    part = 0
    for query, name in (ANSWERED, "glm_generate"), (CLASSIFIED, "glm_classify"):
        prompt, answer = count_rows(conn, query, task, part, rows)
        print(f"{task:10} {name + ', rows computed':34} {prompt:.1f} of the prompt, {answer:.1f} of the answer")
        part += 1
    for flight, how in (1, "a row after the other"), (32, "rows in flight"):
        conn.execute(f"SET LOCAL chatglm.prefetch = {flight}")
        seconds = {ANSWERED: [], CLASSIFIED: []}
        for _ in range(rounds):
            for query in seconds:
                seconds[query].append(timed(conn, query, task, [part])[1])
                part += 1
        slow = median(task, "glm_generate, " + how, rows, seconds[ANSWERED])
        fast = median(task, "glm_classify, " + how, rows, seconds[CLASSIFIED])
        print(f"{task:10} {'share of time':34} {fast / slow:7.2f}")


def measure_labels(conn, n, parts, rows, model, flight):
    labels = [f"{queue} {reason}" for queue in QUEUES for reason in REASONS][:n]
    system = f"{flight} at a time. Choose a label: " + ", ".join(labels)  # nothing of it is cached by the run before
    conn.execute(f"SET LOCAL chatglm.prefetch = {flight}")
    seconds = {CHOSEN: [], LIKELIEST: [], WEIGHED: []}
    for number, part in enumerate(parts):
        query = list(seconds)[number % 3]
        begin = time.monotonic()
        conn.execute(query, {"part": part, "labels": labels, "model": model, "system": system})
        if number >= 3:  # the first of each computes what all begin with
            seconds[query].append(time.monotonic() - begin)
    task = f"{n} labels"
    how = f", {flight} in flight"
    slow = median(task, "glm_generate of choices" + how, rows, seconds[CHOSEN])
    for query, name in (LIKELIEST, "glm_classify"), (WEIGHED, "glm_classify_scores"):
        fast = median(task, name + how, rows, seconds[query])
        print(f"{task:10} {'share of time':34} {fast / slow:7.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50, help="of each task, function and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--labels", type=int, nargs="*", default=[12, 48], help="how many, of several words each")
    parser.add_argument("--labels-only", action="store_true")
    parser.add_argument("--model", default="tiny-chatglm3", help="for these")
    a = parser.parse_args()
    with psycopg.connect("dbname=postgres") as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS chatglm")
        conn.execute(r"UPDATE chatglm.task_prompt SET text = E'{instructions}\n---\n{content}' WHERE name = 'classify' AND language = 'en'")
        conn.execute("CREATE TEMP TABLE held_out (task text, part int, system text, prompt text, expected text)")
        parts = 4 * a.rounds + 2
        with conn.cursor().copy("COPY held_out FROM STDIN") as copy:
            for number, row in enumerate(held_out(parts * a.rows)):
                copy.write_row((row["task"], number % parts, row["system"], row["prompt"], row["expected"]))
        conn.execute("ANALYZE held_out")
        for task in LABELS if not a.labels_only else ():
            measure(conn, task, a.rounds, a.rows)
        for n in a.labels:
            for flight in 1, 32:
                measure_labels(conn, n, range(parts), a.rows, a.model, flight)
        conn.rollback()


main()
