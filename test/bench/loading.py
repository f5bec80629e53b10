#!/usr/bin/python3
"""How fast a big packed model is there, through SQL: load, first token, verify, memory, unload.

    loading.py [DIRECTORY]     a packed model; without one, one of ChatGLM3-6B's shape in INT4 is made and removed

Runs in the cluster that PGHOST and friends name (eval "$(test/cluster.sh env)"), as a superuser who may look into the
worker's /proc (root, or the server's user), and prints a Markdown table.  "Cold" means that the kernel was told to
forget the files' pages, and that it did so is checked.
"""
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAKER = os.path.join(ROOT, "build", "bench", "make_random_model")
NAME = "bench_loading"
LOADS = 5


class Bench:
    def __init__(self, path):
        self.path = path
        self.files = sorted(glob.glob(f"{path}/*.safetensors"))
        self.bytes = sum(os.path.getsize(name) for name in self.files)
        self.conn = psycopg.connect(autocommit=True)
        self.pid = self.value("SELECT glm_health()")["worker_pid"]

    def value(self, sql, *args):
        return self.conn.execute(sql, args).fetchone()[0]

    def timed(self, sql, *args):
        start = time.perf_counter()
        self.value(sql, *args)
        return time.perf_counter() - start

    def load(self, name=NAME, options=None):
        return self.timed("SELECT glm_model_load(%s, %s, %s)", name, self.path, json.dumps(options or {}))

    def unload(self, name=NAME):
        self.value("SELECT glm_model_unload(%s)", name)

    def first_token(self):
        return self.timed("SELECT glm_complete('a', model => %s, max_tokens => 1)", NAME)

    # ---- the kernel's side

    def cached_share(self):
        shown = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", *self.files],
                               capture_output=True, text=True, check=True).stdout
        return sum(map(int, shown.split())) / self.bytes

    def cache(self):
        for name in self.files:
            with open(name, "rb", buffering=0) as file:
                while file.read(16 << 20):
                    pass

    def forget(self):
        os.sync()
        for name in self.files:
            fd = os.open(name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        share = self.cached_share()
        if share > 0.01:
            raise SystemExit(f"{share:.0%} of the files stay in the page cache")

    def anonymous_mb(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

    def mappings(self):
        with open(f"/proc/{self.pid}/maps") as maps:
            return sum(self.path in line for line in maps)

    def bits(self):
        """Of a weight, by what the files take."""
        with open(f"{self.path}/config.json") as file:
            c = json.load(file)
        hidden, ffn, query = c["hidden_size"], c["ffn_hidden_size"], c["num_attention_heads"] * c["kv_channels"]
        qkv = query + 2 * c["multi_query_group_num"] * c["kv_channels"]
        layer = hidden * qkv + qkv + query * hidden + 3 * hidden * ffn + 2 * hidden
        return 8 * self.bytes / (c["num_layers"] * layer + 2 * c["padded_vocab_size"] * hidden + hidden)

    def close(self):
        for name in (NAME, NAME + "_2"):
            self.conn.execute("SELECT glm_model_unload(name) FROM chatglm.model WHERE name = %s", [name])
            self.conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])
        self.conn.close()


def row(what, figure):
    print(f"| {what} | {figure} |", flush=True)


def repeated(bench, before):
    """Loads LOADS times, each after before() and followed by an unload; text of median and range in ms."""
    times = []
    for _ in range(LOADS):
        before()
        times.append(bench.load() * 1e3)
        bench.unload()
    return f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"


def measure(bench):
    idle = bench.anonymous_mb()
    row("size of the weights", f"{bench.bytes / 1e9:.2f} GB, {bench.bits():.3f} bits a weight")
    bench.cache()
    row("load to ready, in the page cache", repeated(bench, lambda: None))
    row("load to ready, cold", repeated(bench, bench.forget))

    bench.forget()
    bench.load()
    row("first token after a cold load", f"{bench.first_token():.2f} s")
    bench.unload()
    bench.cache()
    bench.load()
    loaded = bench.anonymous_mb()
    row("first token after a load from the page cache", f"{bench.first_token():.2f} s")
    row("next call for one token", f"{bench.first_token():.2f} s")
    row("worker's anonymous memory: idle, loaded, after a token",
        f"{idle:.0f} MB, {loaded:.0f} MB, {bench.anonymous_mb():.0f} MB")
    row("load when it is loaded", f"{statistics.median(bench.load() * 1e3 for _ in range(LOADS)):.1f} ms")
    row("load of the same files under another name", f"{bench.load(NAME + '_2') * 1e3:.1f} ms")
    mapped = bench.mappings()
    bench.unload(NAME + "_2")
    bench.unload()
    row("mappings of its files: in use, after the unload", f"{mapped}, {bench.mappings()}")

    seconds = []
    for _ in range(LOADS):
        seconds.append(bench.load(options={"verify": "full"}))
        bench.unload()
    best = statistics.median(seconds)
    row("verify full, in the page cache", f"{best:.2f} s, {bench.bytes / best / 1e9:.2f} GB/s")


def main():
    place = None
    if len(sys.argv) > 1:
        path = os.path.realpath(sys.argv[1])
    else:
        place = tempfile.mkdtemp(prefix="chatglm-bench-")
        os.chmod(place, 0o755)
        path = f"{place}/6b-int4"
        subprocess.run([MAKER, path], cwd=ROOT, check=True)
    try:
        bench = Bench(path)
        try:
            print("| what | figure |\n|---|---|")
            measure(bench)
        finally:
            bench.close()
    finally:
        if place is not None:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
