"""Other engines beside ours, in turns: A B C A B C ...

Their speed and ours both move with the machine, whose memory alone is at times half again as fast as at others, so
figures of different minutes say little.  Each turn runs everybody once, and what counts is the ratio within a turn in which
the memory, measured right after each, was as fast for both.

CHATGLM_RIVAL holds words NAME=WHAT, quoted as for a shell.  WHAT is a directory with llama-batched-bench, llama.cpp's or
ik_llama.cpp's, which then runs a random model of the same shape, Q4_0 beside INT4 and Q8_0 beside INT8; or any command.
In that {work} becomes `decode` or `prefill`, {n} the sequences or tokens, {bits} 4 or 8; the last number that it
prints is its tokens a second, of all sequences in sum.
"""
import os
import re
import shlex
import statistics
import subprocess
import tempfile

import random_gguf

THREADS = "2"               # as build/bench/forward, which decodes behind so many tokens
DECODE_FROM, STEPS = 128, 16
PATIENCE = 900              # seconds of one run
ALIKE = 1.15                # bandwidths at most so far apart count as the same


class Failed(Exception):
    pass


def named():
    """-> {name: directory or command} of CHATGLM_RIVAL."""
    words = [word.partition("=") for word in shlex.split(os.environ.get("CHATGLM_RIVAL", ""))]
    if not all(name and what for name, _, what in words):
        raise SystemExit("CHATGLM_RIVAL does not hold words NAME=WHAT")
    return {name: what for name, _, what in words}


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing on stderr"


def run(words, directory=None):
    """-> the finished process of a command, whatever its status."""
    try:
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                              cwd=directory, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Failed(str(e)) from e


def checked(done):
    if done.returncode != 0:
        raise Failed("%s (exit status %d)" % (last_line(done.stderr), done.returncode))
    return done


def gguf(bits, models):
    """-> path of the model, made if it is not there."""
    path = os.path.join(os.path.abspath(models), "chatglm3-6b-q%d_0.gguf" % bits)
    if not os.path.exists(path):
        os.makedirs(models, exist_ok=True)
        random_gguf.write(bits, path)
    return path


def run_batched_bench(program, bits, models, kind, n):
    """-> tokens a second of llama-batched-bench, which prints a table with one row, ik_llama.cpp's on stderr."""
    prompt, steps, sequences = (DECODE_FROM, STEPS, n) if kind == "decode" else (n, 1, 1)
    words = [program, "-t", THREADS, "-tb", THREADS, "-c", "4096", "-pps",
             "-npp", str(prompt), "-ntg", str(steps), "-npl", str(sequences)]
    if "--run-time-repack" in run([program, "--help"]).stdout:      # ik_llama.cpp repacks when told, llama.cpp unasked
        words.append("-rtr")
    words += ["-m", gguf(bits, models)]
    with tempfile.TemporaryDirectory() as scratch:      # it may leave a log
        done = checked(run(words, scratch))
    table = [[cell.strip() for cell in line.split("|")]
             for line in (done.stdout + done.stderr).splitlines() if line.startswith("|")]
    if len(table) != 3:         # the head, a rule and the row
        raise Failed("llama-batched-bench printed %d lines of a table instead of 3" % len(table))
    return float(dict(zip(table[0], table[2]))["S_TG t/s" if kind == "decode" else "S_PP t/s"])


def run_command(command, kind, n, bits):
    values = {"{work}": kind, "{n}": str(n), "{bits}": str(bits)}
    words = [re.sub(r"\{work\}|\{n\}|\{bits\}", lambda m: values[m.group()], w) for w in shlex.split(command)]
    numbers = re.findall(r"\d+(?:\.\d+)?", checked(run(words)).stdout)
    if not numbers or float(numbers[-1]) == 0:
        raise Failed("no speed on stdout")
    return float(numbers[-1])


def run_rival(what, work, bits, models):
    """-> its tokens a second, or Failed with its last words."""
    kind, n = work.split(":")
    if os.path.isdir(what):
        program = os.path.abspath(os.path.join(what, "llama-batched-bench"))
        return run_batched_bench(program, bits, models, kind, int(n))
    return run_command(what, kind, n, bits)


def new_row(work, bits, who):
    return {"work": work, "bits": bits, "who": who, "speeds": [], "bandwidths": [], "shares": [], "failed": None}


def take_turns(ours, bandwidth, work, bits, models, turns):
    """-> a dict for us and for each rival: work, bits, who, failed, and lists with one number a turn: speeds (tokens a
    second), bandwidths (GB/s, measured beside it), for us shares of what the machine could do.

    ours: a function of the work, -> forward.c's row.  A rival that fails sits out the turns that are left.
    """
    us, rivals = new_row(work, bits, "ours"), [new_row(work, bits, name) for name in named()]
    for _ in range(turns):
        measured = ours(work)
        us["speeds"].append(measured["tokens_per_second"])
        us["shares"].append(measured["share"])
        us["bandwidths"].append(measured.get("bandwidth") or bandwidth())
        for row in rivals:
            try:
                if row["failed"] is None:
                    row["speeds"].append(run_rival(named()[row["who"]], work, bits, models))
                    row["bandwidths"].append(bandwidth())
            except Failed as e:
                row["failed"] = str(e)
    return [us] + rivals


def spread(numbers, form):
    return form % statistics.median(numbers), "%s..%s" % (form % min(numbers), form % max(numbers))


def ratios(us, row):
    """Of the turns in which both found the memory equally fast, where there are some."""
    turns = list(zip(us["speeds"], row["speeds"], us["bandwidths"], row["bandwidths"]))
    alike = [a / b for a, b, ours, theirs in turns if max(ours, theirs) <= ALIKE * min(ours, theirs)]
    return alike or [a / b for a, b, _, _ in turns]


def print_header(bits, turns):
    print("\nINT%d, in turns, %d of them; GB/s: what the memory gave beside it" % (bits, turns))
    for name, what in named().items():
        print("%s: %s" % (name, what))
    print("%-14s %-14s %9s %15s %11s %7s %11s %13s %6s" % (
        "work", "", "tokens/s", "least..most", "GB/s", "share", "ours/theirs", "least..most", "turns"))


def print_rows(rows):
    for row in rows:
        head = "%-14s %-14s" % (row["work"].replace(":", " ") if row["who"] == "ours" else "", row["who"])
        if row["failed"] is not None:
            print("%s failed: %s" % (head, row["failed"]), flush=True)
            continue
        line = "%s %9s %15s %11s" % (head, *spread(row["speeds"], "%.1f"), spread(row["bandwidths"], "%.0f")[1])
        if row["who"] == "ours":
            line += " %5.0f %%" % (100 * statistics.median(row["shares"]))
        else:
            line += " %7s %11s %13s %6d" % ("", *spread(ratios(rows[0], row), "%.2f"), len(ratios(rows[0], row)))
        print(line, flush=True)


def compare(ours, bandwidth, works, bits, models, turns):
    """Prints the table work by work; -> all its rows."""
    every = []
    print_header(bits, turns)
    for work in works:
        rows = take_turns(ours, bandwidth, work, bits, models, turns)
        print_rows(rows)
        every += rows
    return every
