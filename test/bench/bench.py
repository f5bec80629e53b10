#!/usr/bin/python3
"""Passes of a model of ChatGLM3-6B's shape beside the limits of the machine, as a table, JSON lines and a picture.

    bench.py [--full] [--models DIR] [--out DIR]
    bench.py --turns N [--bits B] [--model DIR] [--models DIR] [--out DIR] WORK...

Makes the random models once (DIR, outside the tree: 3.5 GB, with --full 10 GB more), runs build/bench/forward on them
and writes forward.json and forward.svg. --full adds INT8, a prefill of 2,048 tokens, and passes behind long
contexts (build/bench/context, contexts.json).

The rivals that CHATGLM_RIVAL names (rivals.py says how) run in turns with ours, in INT4 and INT8 (20 GB more), which
writes rivals.json. --turns runs only the works named, like decode:4 or prefill:512, we and each rival once a turn.
"""
import argparse
import json
import os
import re
import subprocess

import rivals

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "bench")
DECODE = (1, 2, 4, 8, 16)
CONTEXTS = (512, 8192, 32768)
TURNS = 3       # of us and the rivals, where nobody says how many
RIVAL_WORKS = ["decode:%d" % n for n in DECODE] + ["prefill:512"]


def model_of(bits, models, context=8192):
    path = os.path.join(models, "chatglm3-6b%s-int%d" % ("" if context == 8192 else "-%dk" % (context // 1024), bits))
    if not os.path.exists(os.path.join(path, "chatglm.json")):
        os.makedirs(models, exist_ok=True)
        subprocess.run([os.path.join(BUILD, "make_random_model"), "bits=%d" % bits, "context=%d" % context, path],
                       check=True, stdout=subprocess.DEVNULL)
    return path


def program(name, *arguments, build=BUILD):
    """-> what a program of build/bench prints."""
    command = [os.path.join(build, name)] + [str(a) for a in arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def forward(model, works, runs=5, build=BUILD):
    return [json.loads(line) for line in program("forward", "-r", runs, model, *works, build=build).splitlines()]


def contexts(model, threads):
    """Passes behind long contexts, each with the peak of fused multiply-adds, which attention is made of."""
    fma = re.search(r"multiply-adds (\d+) GFLOP/s", program("kernels", "-t", threads, "-r", 1)).group(1)
    works = ["%s:%d" % (kind, n) for kind in ("decode", "prefill") for n in CONTEXTS]
    lines = program("context", "-t", threads, "-r", 3, model, *works).splitlines()
    return [{**json.loads(line), "fma_peak_gflops": float(fma)} for line in lines]


def limit_of(row, machine):
    """Tokens a second that the machine allows: bytes at the read bandwidth, operations at the peak."""
    if row["work"] == "prefill":
        return row["tokens_per_second"] / row["share"] if row["share"] else None
    read = row["bandwidth"] / row["gigabytes"] * row["sequences"]
    peak = machine["peak_gops"] / row["gop"]
    return min(read, peak) if peak else read


def table(name, rows):
    machine = rows[0]
    print("\n%s: %s kernels, %d threads; read %.1f GB/s, peak of products %.0f GOP/s" % (
        name, machine["kernels"], machine["threads"], machine["bandwidth"], machine["peak_gops"]))
    print("%-14s %9s %15s %9s %7s" % ("work", "tokens/s", "least..most", "limit", "share"))
    for row in rows[1:-1]:
        limit = limit_of(row, machine)
        print("%-14s %9.1f %15s %9s %7s" % (
            "%s %d" % (row["work"], row.get("sequences") or row["tokens"]), row["tokens_per_second"],
            "%.1f..%.1f" % (row["least"], row["most"]), "%.1f" % limit if limit else "-",
            "%.0f %%" % (100 * row["tokens_per_second"] / limit) if limit else "-"))
    memory = rows[-1]
    print("resident at most %.2f GB" % ((memory["peak_resident_mb"] - memory["of_it_for_bandwidth_mb"]) / 1e3))


def context_limits(row):
    """Seconds that bytes and operations allow a pass: its products, its attention (one after the other)."""
    weights, kv = row["weights_gb"] / row["bandwidth"], row["kv_gb"] / row["bandwidth"]
    peak = row["peak_gops"]
    products = max(weights, row["product_gop"] / peak) if peak else weights
    return products, max(kv, row["attention_gflop"] / row["fma_peak_gflops"])


def context_table(name, rows):
    print("\n%s behind long contexts: multiply-adds' peak %.0f GFLOP/s; ms of a pass, as predicted and in all" % (
        name, rows[0]["fma_peak_gflops"]))
    print("%-14s %8s %9s %15s %9s %9s %9s %7s" % (
        "work", "context", "tokens/s", "least..most", "products", "attention", "all", "share"))
    for row in rows:
        products, attention = context_limits(row)
        seconds = row["tokens"] / row["tokens_per_second"]
        known = row["work"] == "decode" or row["peak_gops"] > 0    # bytes alone say nothing of a prefill
        print("%-14s %8d %9.1f %15s %9s %9.1f %9.1f %7s" % (
            "%s %d" % (row["work"], row["tokens"]), row["context"], row["tokens_per_second"],
            "%.1f..%.1f" % (row["least"], row["most"]), "%.1f" % (1e3 * products) if known else "-", 1e3 * attention,
            1e3 * seconds, "%.0f %%" % (100 * (products + attention) / seconds) if known else "-"))


def picture(rows, path):
    """Tokens a second against sequences, and what the machine allows: an SVG."""
    machine, decode = rows[0], [r for r in rows if r["work"] == "decode"]
    ours = [(r["sequences"], r["tokens_per_second"]) for r in decode]
    limits = [(r["sequences"], limit_of(r, machine)) for r in decode]
    top = max(y for _, y in limits) * 1.1
    width, height, left, bottom = 640, 400, 60, 50

    def at(point):
        x = left + (width - left - 20) * DECODE.index(point[0]) / (len(DECODE) - 1)
        return x, height - bottom - (height - bottom - 20) * point[1] / top

    def line(points, colour, dash=""):
        return '<polyline fill="none" stroke="%s" stroke-width="2" %s points="%s"/>' % (
            colour, dash, " ".join("%.0f,%.0f" % at(p) for p in points))

    def text(x, y, words, anchor="middle"):
        return '<text x="%.0f" y="%.0f" font-family="sans-serif" font-size="13" text-anchor="%s">%s</text>' % (
            x, y, anchor, words)

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d">' % (width, height),
             '<rect width="100%" height="100%" fill="white"/>',
             '<path d="M%d 20V%dH%d" fill="none" stroke="black"/>' % (left, height - bottom, width - 20)]
    parts += [line(limits, "#999", 'stroke-dasharray="6 4"'), line(ours, "#0b62a4")]
    parts += ['<circle cx="%.0f" cy="%.0f" r="4" fill="#0b62a4"/>' % at(p) for p in ours]
    parts += [text(at(p)[0], at(p)[1] - 10, "%.0f" % p[1]) for p in ours]
    parts += [text(at((n, 0))[0], height - bottom + 20, n) for n in DECODE]
    parts += [text(width / 2, height - 10, "sequences"), text(left + 10, 35, "tokens/s, ChatGLM3-6B shape, INT4", "start"),
              text(left + 10, 53, "dashed: the lower of read bandwidth and peak of products", "start"), "</svg>"]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(parts) + "\n")


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)


def in_turns(model, bits, works, turns, models):
    """We and the rivals of CHATGLM_RIVAL; -> their rows."""
    def ours(work):
        return forward(model, [work], 1 if work.startswith("prefill") else 5)[1]

    def bandwidth():
        return forward(model, [], 1)[0]["bandwidth"]

    return rivals.compare(ours, bandwidth, works, bits, models, turns)


def alone(a):
    """The whole table, and the rivals if there are any."""
    works = ["decode:%d" % n for n in DECODE] + ["prefill:128", "prefill:512"] + ["prefill:2048"] * a.full
    results = {bits: forward(model_of(bits, a.models), works) for bits in ((4, 8) if a.full else (4,))}
    for bits, rows in results.items():
        table("INT%d" % bits, rows)
    write_lines(os.path.join(a.out, "forward.json"),
                [{"bits": bits, **row} for bits, rows in results.items() for row in rows])
    picture(results[4], os.path.join(a.out, "forward.svg"))
    if a.full:
        rows = contexts(model_of(4, a.models, max(CONTEXTS)), results[4][0]["threads"])
        context_table("INT4", rows)
        write_lines(os.path.join(a.out, "contexts.json"), rows)
    if rivals.named():
        rows = [row for bits in (4, 8) for row in in_turns(model_of(bits, a.models), bits, RIVAL_WORKS, TURNS, a.models)]
        write_lines(os.path.join(a.out, "rivals.json"), rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--models", default="/var/tmp/chatglm-bench")
    parser.add_argument("--out", default=BUILD)
    parser.add_argument("--turns", type=int, help="run only the works named, so often, beside the rivals")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4)
    parser.add_argument("--model", help="directory of a model to take instead of making one")
    parser.add_argument("works", metavar="WORK", nargs="*")
    a = parser.parse_args()
    if bool(a.works) != ((a.turns or 0) > 0):
        parser.error("--turns goes with works, and works with --turns")
    os.makedirs(a.out, exist_ok=True)      # now, not after an hour of measuring
    if a.works:
        rows = in_turns(a.model or model_of(a.bits, a.models), a.bits, a.works, a.turns, a.models)
        write_lines(os.path.join(a.out, "rivals.json"), rows)
    else:
        alone(a)


if __name__ == "__main__":
    main()
