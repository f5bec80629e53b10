#!/usr/bin/python3
"""Two versions in pairs: how much faster or slower passes of a model became.

    pairs.py [--pairs N] [--runs N] [--models DIR | --model DIR] BEFORE AFTER [WORK...]

BEFORE and AFTER are checkouts in which `make bench-programs` was run; build/bench/forward of both takes the same model,
INT4 and of ChatGLM3-6B's shape, made as bench.py makes it, unless --model names another. A WORK is forward.c's:
decode:1, decode:4, decode:16 and prefill:512 where none is named.

Speeds move with the machine from minute to minute, so only the ratio within a pair counts. Each pair runs one version
right after the other, every second pair in the other order. Prints for each work the median of the ratios after / before,
their quartiles, and how many there are.
"""
import argparse
import os
import statistics
import sys

import bench

WORKS = ("decode:1", "decode:4", "decode:16", "prefill:512")
ENOUGH = 15     # pairs, for a median that says something


def speed(checkout, model, work, runs):
    """-> tokens a second of this checkout's program."""
    rows = bench.forward(model, [work], runs, os.path.join(checkout, "build", "bench"))
    return next(row["tokens_per_second"] for row in rows if row["work"] in ("decode", "prefill"))


def ratio(before, after, model, work, runs, turned):
    """-> after / before of one pair; turned: after runs first."""
    speeds = {checkout: speed(checkout, model, work, runs)
              for checkout in ((after, before) if turned else (before, after))}
    return speeds[after] / speeds[before]


def print_table(ratios):
    print("%-12s %7s %17s %6s" % ("work", "median", "quartiles", "pairs"))
    for work, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        print("%-12s %7.3f %8.3f %8.3f %6d" % (work, middle, low, high, len(values)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=ENOUGH)
    parser.add_argument("--runs", type=int, default=3, help="within each call of the program, whose median counts")
    parser.add_argument("--models", default="/var/tmp/chatglm-bench")
    parser.add_argument("--model", help="directory of a model to take instead of making one")
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("works", metavar="WORK", nargs="*")
    a = parser.parse_args()
    before, after = os.path.realpath(a.before), os.path.realpath(a.after)
    if a.pairs < 2 or before == after:
        parser.error("it takes two pairs and two checkouts")
    model = a.model or bench.model_of(4, a.models)
    ratios = {work: [] for work in a.works or WORKS}
    for pair in range(a.pairs):
        for work, values in ratios.items():
            values.append(ratio(before, after, model, work, a.runs, pair % 2 == 1))
            print("pair %d of %d, %s: %.3f" % (pair + 1, a.pairs, work, values[-1]), file=sys.stderr, flush=True)
    print_table(ratios)
    if a.pairs < ENOUGH:
        print("fewer than %d pairs: for a try only" % ENOUGH)


if __name__ == "__main__":
    main()
