#!/usr/bin/python3
"""What quantization costs: errors of weights and of layer outputs, perplexity, and accuracy task by task, through SQL.

    quantization.py [ROWS]     ROWS held-out rows a task for accuracy (default 100), 20 of them for perplexity

Runs in the cluster that PGHOST and friends name (eval "$(test/cluster.sh env)"), as a superuser.  Quantizes the
embedded model and, where they are, the golden checkpoints at group 64 by every method, prints Markdown tables and
removes what it made.  Calibration texts are training rows of the embedded model; perplexity is that of held-out
rows, which the calibration has not seen.
"""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

import psycopg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "model"))

import data                     # noqa: E402  (of test/model)

METHODS = ("sym", "rtn", "hqq", "gptq")
VARIANTS = (("INT8 rtn", {"method": "rtn", "bits": 8}), ("INT8 hqq", {"method": "hqq", "bits": 8}),
            ("INT4 rtn", {"method": "rtn"}), ("INT4 hqq", {"method": "hqq"}), ("INT4 gptq", {"method": "gptq"}))
CALIBRATION_ROWS = 200


def chat(row):
    """A row as a conversation with its answer; a tool call in ChatGLM3's own way of writing."""
    answer = {"role": "assistant", "content": row["answer"]}
    if row["metadata"]:
        answer["metadata"] = row["metadata"]
    return row["messages"] + [answer]


def training_rows(count):
    stream = data.Maker(7).stream()
    return [chat(next(stream)) for _ in range(count)]


def is_right(row, message):
    """Is a message the row's answer, to the last character, and ended as it should?"""
    if not row["metadata"]:
        return (message["content"], message["finish_reason"]) == (row["answer"], "stop")
    calls = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", [])]
    city = row["answer"].split('"')[1]
    return calls == [(row["metadata"], {"city": city})]


class Bench:
    def __init__(self, rows):
        self.conn = psycopg.connect(autocommit=True)
        self.place = tempfile.mkdtemp(prefix="chatglm-bench-", dir=os.path.dirname(os.environ["PGHOST"]))
        if os.getuid() == 0:
            shutil.chown(self.place, "postgres")
        self.heldout = list(data.heldout(rows))
        self.conn.execute("CREATE TEMP TABLE heldout (n int, messages jsonb)")
        with self.conn.cursor().copy("COPY heldout FROM STDIN") as copy:
            for n, row in enumerate(self.heldout):
                copy.write_row((n, json.dumps(row["messages"])))
        self.n = 0
        self.loaded = []

    def quantize(self, source, texts, **options):
        """Quantizes; returns the whole model's row and the directory."""
        self.n += 1
        target = f"{self.place}/{self.n}"
        rows = self.conn.execute("SELECT * FROM glm_quantize(%s, %s, %s)",
                                 [source, target, json.dumps({"calibration": texts, **options})]).fetchall()
        return dict(zip(("tensor", "method", "bits", "weights", "outputs", "before", "after"), rows[-1])), target

    def accuracy(self, model):
        """For each task the percentage of held-out rows that are right; they are computed side by side."""
        right = dict.fromkeys(data.TASKS, 0)
        for n, message in self.conn.execute("SELECT n, glm_chat(messages, model => %s, max_tokens => 200) FROM heldout",
                                            [model]):
            row = self.heldout[n]
            right[row["task"]] += is_right(row, message)
        return {task: 100 * count * len(right) / len(self.heldout) for task, count in right.items()}

    def perplexity(self, model, rows):
        """Of what the assistant says in these rows, one call of glm_logits for each token."""
        total, count = 0.0, 0
        for row in rows:
            ids, start = [self.conn.execute("SELECT glm_chat_tokens(%s, model => %s)", [json.dumps(messages), model])
                          .fetchone()[0] for messages in (chat(row), row["messages"])]
            ids, start = ids[:-1], len(start)       # without the turn that nobody took
            for logits, token in self.conn.execute(
                    "SELECT glm_logits((%(ids)s::int[])[1:k], model => %(model)s), (%(ids)s::int[])[k + 1] "
                    "FROM generate_series(%(start)s::int, %(end)s::int) k",
                    {"ids": ids, "model": model, "start": start, "end": len(ids) - 1}):
                top = max(logits)
                total += top + math.log(sum(math.exp(x - top) for x in logits)) - logits[token]
                count += 1
        return math.exp(total / count)

    def load(self, name, path):
        self.conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
        self.loaded.append(name)

    def close(self):
        for name in self.loaded:
            self.conn.execute("SELECT glm_model_unload(%s)", [name])
            self.conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])
        self.conn.close()
        shutil.rmtree(self.place)


def errors(bench):
    texts = training_rows(CALIBRATION_ROWS)
    golden = os.environ.get("GLM_GOLDEN", os.path.join(ROOT, "..", "shared", "golden"))
    sources = [("embedded model", "tiny-chatglm3", texts)]
    for name in ("chatglm3-a", "chatglm3-b"):
        path = os.path.realpath(os.path.join(golden, name))
        if os.path.isdir(path):
            shutil.copytree(path, f"{bench.place}/{name}")      # where the server may read it
            if os.getuid() == 0:
                subprocess.run(["chown", "-R", "postgres", f"{bench.place}/{name}"], check=True)
                subprocess.run(["chmod", "-R", "u+rwX", f"{bench.place}/{name}"], check=True)
            sources.append((f"golden {name}", f"{bench.place}/{name}",
                            [json.dumps(text, ensure_ascii=False) for text in texts]))
    print("| model, group 64 | error of | no zero point (sym) | zero point (rtn) | fitted (hqq) | compensated (gptq) |")
    print("|---|---|---|---|---|---|")
    for title, source, calibration in sources:
        results = [bench.quantize(source, calibration, method=method)[0] for method in METHODS]
        for key in ("weights", "outputs"):
            print(f"| {title} | {key} | " + " | ".join(f"{result[key]:.4f}" for result in results) + " |", flush=True)


def report(bench, few, title, bits, model, exact=None):
    """A model's line; exact: the accuracy of the original.  Returns its own."""
    perplexity, now = bench.perplexity(model, few), bench.accuracy(model)
    worst = min(now[task] - (exact or now)[task] for task in data.TASKS)
    print(f"| {title} | {bits:.2f} | {perplexity:.5f} | " + " | ".join(f"{now[task]:.1f}" for task in data.TASKS)
          + f" | {worst:+.1f} |", flush=True)
    return now


def quality(bench, few):
    """Perplexity and accuracy on held-out rows: F16, and what is written at each width."""
    train = training_rows(CALIBRATION_ROWS)
    print("| embedded model | bits a weight | perplexity | " + " | ".join(data.TASKS) + " | worst against F16 |")
    print("|---" * (len(data.TASKS) + 4) + "|")
    exact = report(bench, few, "F16", 16, "tiny-chatglm3")
    for title, options in VARIANTS:
        name = "bench_" + title.lower().replace(" ", "_")
        result, target = bench.quantize("tiny-chatglm3", train, **options)
        bench.load(name, target)
        report(bench, few, title, result["bits"], name, exact)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    bench = Bench(rows)
    try:
        errors(bench)
        print()
        # a few rows of every task: each of their tokens is a call of its own
        quality(bench, bench.heldout[::max(1, rows // 20)])
    finally:
        bench.close()


if __name__ == "__main__":
    main()
