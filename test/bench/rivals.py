"""Other engines beside ours, in turns: A B C A B C ...

Their speed and ours both move with the machine, whose memory alone is at times half again as fast as at others, so
figures of different minutes say little.  Each turn runs everybody once, and what counts is the ratio within a turn.

CHATGLM_RIVAL holds commands, one a line.  In them {work} becomes `decode` or `prefill`, {n} the sequences or tokens,
{bits} 4 or 8; the last number that a command prints is its tokens a second, of all sequences in sum.
"""
import os
import re
import shlex
import statistics
import subprocess


class Failed(Exception):
    pass


def commands():
    return [line.strip() for line in os.environ.get("CHATGLM_RIVAL", "").splitlines() if line.strip()]


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing on stderr"


def run_rival(command, work, bits):
    """-> its tokens a second, or Failed with its last words."""
    kind, n = work.split(":")
    values = {"{work}": kind, "{n}": n, "{bits}": str(bits)}
    words = [re.sub(r"\{work\}|\{n\}|\{bits\}", lambda m: values[m.group()], w) for w in shlex.split(command)]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    except OSError as e:
        raise Failed(str(e)) from e
    numbers = re.findall(r"\d+(?:\.\d+)?", done.stdout)
    if done.returncode != 0 or not numbers or float(numbers[-1]) == 0:
        raise Failed("%s (exit status %d)" % (last_line(done.stderr), done.returncode))
    return float(numbers[-1])


def take_turns(ours, work, bits, turns):
    """-> a dict for us and for each rival: work, who, speeds (tokens a second, one a turn), failed.

    ours: a function of the work.  A rival that fails sits out the turns that are left.
    """
    rivals = commands()
    rows = [{"work": work, "bits": bits, "who": who, "speeds": [], "failed": None}
            for who in ["ours"] + ["rival %d" % (i + 1) for i in range(len(rivals))]]
    for _ in range(turns):
        rows[0]["speeds"].append(ours(work))
        for row, command in zip(rows[1:], rivals):
            try:
                if row["failed"] is None:
                    row["speeds"].append(run_rival(command, work, bits))
            except Failed as e:
                row["failed"] = str(e)
    return rows


def spread(numbers, form):
    return form % statistics.median(numbers), "%s..%s" % (form % min(numbers), form % max(numbers))


def print_header(bits, turns):
    print("\nINT%d, in turns, %d of them" % (bits, turns))
    for i, command in enumerate(commands()):
        print("rival %d: %s" % (i + 1, command))
    print("%-14s %-8s %9s %15s %11s %13s" % ("work", "", "tokens/s", "least..most", "ours/theirs", "least..most"))


def print_rows(rows):
    for row in rows:
        head = "%-14s %-8s" % (row["work"].replace(":", " ") if row["who"] == "ours" else "", row["who"])
        if row["failed"] is not None:
            print("%s failed: %s" % (head, row["failed"]), flush=True)
            continue
        line = "%s %9s %15s" % (head, *spread(row["speeds"], "%.1f"))
        if row["who"] != "ours":
            ratios = [a / b for a, b in zip(rows[0]["speeds"], row["speeds"])]
            line += " %11s %13s" % spread(ratios, "%.2f")
        print(line, flush=True)


def compare(ours, works, bits, turns):
    """Prints the table work by work; -> all its rows."""
    every = []
    print_header(bits, turns)
    for work in works:
        rows = take_turns(ours, work, bits, turns)
        print_rows(rows)
        every += rows
    return every
