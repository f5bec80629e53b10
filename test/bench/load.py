#!/usr/bin/python3
"""Measures the embedded model under load: rows in flight, shared beginnings, speculation, streams, cancels.

Makes a cluster of its own with room for 600 sessions.  Prints one line a figure; RESULTS.md keeps what landed
versions gave.  `--quick` for a tenth of it; names of figures (rows, prefix, speculation, streams, cancels) pick some.
`--model=DIR` adds a large model (make_random_model makes one): sessions beside the forward pass alone, arrivals, a long
prompt beside a running stream, rows in flight.
"""
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "t"))
sys.path.insert(0, os.path.join(ROOT, "test", "model"))
from harness import Cluster, connect  # noqa: E402
import data  # noqa: E402
import psycopg  # noqa: E402

QUICK = "--quick" in sys.argv
EXTRACT = "Extract product, city and quantity as JSON."
SETTINGS = {"shared_preload_libraries": "chatglm", "max_connections": 600, "chatglm.kv_cache_size": "1GB"}
COUNTS = "name = 'tiny-chatglm3'"


def one(conn, sql, *args):
    return conn.execute(sql, args).fetchone()[0]


def in_background(target, items):
    threads = [threading.Thread(target=target, args=(item,)) for item in items]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


class Bench:
    def __init__(self):
        self.cluster = Cluster(SETTINGS)
        self.conn = self.connect()
        self.conn.execute("CREATE EXTENSION chatglm")

    def connect(self):
        return self.cluster.connect()

    def health(self):
        return one(self.conn, "SELECT glm_health()")

    def settle(self):
        """Waits until the worker has nothing to do."""
        while True:
            h = self.health()
            if h["running"] == h["waiting"] == h["kv_used_bytes"] == 0 and \
                    one(self.conn, "SELECT count(*) FROM glm_stat_requests") == 0:
                return h
            time.sleep(0.01)

    def forget(self):
        """Empties the prefix cache."""
        self.settle()
        self.conn.execute("SELECT glm_model_unload(name) FROM glm_models WHERE loaded")
        self.conn.execute("SELECT glm_count_tokens('a')")

    def figures(self):
        self.settle()
        return self.conn.execute(f"SELECT * FROM glm_stat_models WHERE {COUNTS}",).fetchone()

    def setting(self, name, value):
        self.conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.conn.execute("SELECT pg_reload_conf()")
        while one(self.conn, f"SHOW {name}") != value:
            time.sleep(0.01)
        self.conn.execute("SELECT glm_count_tokens('a')")  # the worker has read it too
        time.sleep(0.2)

    def table(self, rows):
        self.conn.execute("DROP TABLE IF EXISTS job")
        self.conn.execute("CREATE TABLE job (id int PRIMARY KEY, body text)")
        with self.conn.cursor() as cursor:
            cursor.executemany("INSERT INTO job VALUES (%s, %s)", list(enumerate(rows)))
        self.conn.execute("ANALYZE job")


def extract_rows(n, seed):
    maker = data.Maker(seed, heldout=True)
    rows = []
    while len(rows) < n:
        messages = maker.extract(False)[0]
        rows.append(messages[-1]["content"])
    return rows


# ---- Rows in flight ---------------------------------------------------------------------

def by_hand(bench, rows, connections):
    """The best client one would write: so many connections, each asking for the next row when it has an answer."""
    conns = [bench.connect() for _ in range(connections)]
    todo = list(reversed(rows))

    def ask(conn):
        while True:
            try:
                body = todo.pop()
            except IndexError:
                return
            conn.execute("SELECT glm_generate(%s, system => %s)", (body, EXTRACT), prepare=True).fetchone()

    start = time.monotonic()
    in_background(ask, conns)
    seconds = time.monotonic() - start
    for conn in conns:
        conn.close()
    return seconds


def rows_in_flight(bench):
    n = 100 if QUICK else 1000
    rows = extract_rows(n, 1)
    bench.table(rows)
    times = {1: [], 32: [], "client": []}
    for _ in range(5):
        for prefetch in (1, 32):
            bench.forget()
            bench.conn.execute(f"SET chatglm.prefetch = {prefetch}")
            start = time.monotonic()
            bench.conn.execute("SELECT glm_generate(body, system => %s) FROM job", (EXTRACT,)).fetchall()
            times[prefetch].append(time.monotonic() - start)
        bench.forget()
        times["client"].append(by_hand(bench, rows, 32))
    bench.conn.execute("RESET chatglm.prefetch")
    one_by_one, batch, client = (statistics.median(times[k]) for k in (1, 32, "client"))
    print(f"{n} rows of the extraction task: prefetch 1 {one_by_one:.2f} s, prefetch 32 {batch:.2f} s "
          f"({one_by_one / batch:.1f} times as fast), a client with 32 connections {client:.2f} s "
          f"({client / batch:.2f})")


# ---- Shared beginnings --------------------------------------------------------------------

def shared_prefix(bench):
    n = 100 if QUICK else 1000
    conn = bench.conn
    system = "Say what the customer wants in one word. "
    while one(conn, "SELECT glm_count_tokens(%s)", system) < 512:
        system += "A lamp is goods. A letter is mail. A call is contact. "
    bench.table([f"{i} lamps" for i in range(n)])
    seconds, computed = {}, {}
    for cache in ("false", "true"):
        bench.forget()
        before = bench.figures()
        start = time.monotonic()
        conn.execute("SELECT glm_generate(body, system => %s, max_tokens => 8, options => %s) FROM job",
                     (system, f'{{"cache": {cache}}}')).fetchall()
        seconds[cache] = time.monotonic() - start
        computed[cache] = bench.figures()[4] - before[4]
    print(f"{n} rows with an instruction of {one(conn, 'SELECT glm_count_tokens(%s)', system)} tokens: "
          f"{computed['false']} prompt tokens computed without sharing, {computed['true']} with "
          f"({computed['false'] / computed['true']:.1f} times less), {seconds['false']:.2f} s and {seconds['true']:.2f} s")


# ---- Speculation --------------------------------------------------------------------------

def speculation(bench):
    """Tokens a second with and without, on rows never seen before, taking turns."""
    per_round = 20 if QUICK else 100
    tasks = {
        "extraction, 1 sequence": (1, lambda m: m.extract(False)[0], EXTRACT),
        "extraction, 16 sequences": (16, lambda m: m.extract(False)[0], EXTRACT),
        "sentiment, 1 sequence": (1, lambda m: m.sentiment(False)[0], "Classify the sentiment of the review."),
        "any tokens, 1 sequence": (1, None, None),
    }
    for name, (prefetch, make, system) in tasks.items():
        maker = data.Maker(5, heldout=True)
        rates = {"off": [], "auto": []}
        bench.conn.execute(f"SET chatglm.prefetch = {prefetch}")
        for turn in range(12):
            order = ("off", "auto") if turn % 2 else ("auto", "off")
            for mode in order:
                bench.setting("chatglm.speculation", mode)
                bench.table([make(maker)[-1]["content"] if make else f"{i}" for i in range(per_round)])
                seed = 2000 * turn + (1000 if mode == "auto" else 0)    # no answer was ever seen before
                sampling = f"temperature => 100, top_p => 1, seed => id + {seed}, max_tokens => 40"
                call = f"glm_generate(body, system => %s{'' if make else ', ' + sampling})"
                before = bench.figures()
                start = time.monotonic()
                bench.conn.execute(f"SELECT {call} FROM job", (system,)).fetchall()
                seconds = time.monotonic() - start
                rates[mode].append((bench.figures()[5] - before[5]) / seconds)
        off, auto = (statistics.median(rates[m][2:]) for m in ("off", "auto"))
        ratios = sorted(a / o for o, a in list(zip(rates["off"], rates["auto"]))[2:])
        print(f"speculation, {name}: {off:.0f} tokens/s without, {auto:.0f} with; of the pairs of turns, "
              f"{ratios[0]:.2f} .. {ratios[-1]:.2f}, median {statistics.median(ratios):.2f}", flush=True)
    bench.conn.execute("RESET chatglm.prefetch")
    bench.setting("chatglm.speculation", "auto")


# ---- Streams -------------------------------------------------------------------------------

def streams(bench):
    program = os.path.join(ROOT, "build", "bench", "streams")
    env = {**os.environ, "PGHOST": bench.cluster.base, "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres"}
    for sessions in (100, 500):
        runs = []
        for _ in range(3):
            out = subprocess.run([program, str(sessions), "100"], env=env, check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(out.stdout))
            bench.settle()
        run = sorted(runs, key=lambda r: r["rows_per_s"])[1]
        print(f"{sessions} streams of 100 tokens: {run['rows_per_s']:.0f} rows/s "
              f"({', '.join('%.0f' % r['rows_per_s'] for r in runs)}); row made to received "
              f"P50 {run['delay_ms']['p50']} P95 {run['delay_ms']['p95']} P99 {run['delay_ms']['p99']} ms; between rows of a "
              f"session P50 {run['gap_ms']['p50']} P95 {run['gap_ms']['p95']} P99 {run['gap_ms']['p99']} ms")


# ---- Cancels --------------------------------------------------------------------------------

def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def segments():
    return len([name for name in os.listdir("/dev/shm") if name.startswith("PostgreSQL.")])


def end_early(bench, conn, r):
    """One request that ends before its time, in one of five ways; returns the session to go on with."""
    call = "glm_stream('lamp ' || %d, temperature => 100, max_tokens => 300)" % r.randrange(50)
    way = r.randrange(5)
    try:
        if way == 0:
            conn.execute(f"SELECT token FROM {call} LIMIT {r.randrange(1, 30)}").fetchall()
        elif way == 1:
            conn.execute(f"SET statement_timeout = {r.randrange(1, 30)}; SELECT count(*) FROM {call}")
        elif way == 2:
            conn.execute(f"BEGIN; DECLARE c CURSOR FOR SELECT token FROM {call}; FETCH {r.randrange(1, 20)} FROM c; ROLLBACK")
        elif way == 3:
            conn.execute("SELECT glm_generate('lamp', temperature => 100, max_tokens => 300, options => %s)",
                         (json.dumps({"timeout_ms": r.randrange(1, 20)}),))
        else:
            timer = threading.Timer(r.random() * 0.01, conn.cancel)
            timer.start()
            try:
                conn.execute(f"SELECT count(*) FROM {call}")
            finally:
                timer.join()
    except psycopg.Error:
        pass
    if r.random() < 0.02 or conn.broken:
        # the client goes away in the middle of a stream
        conn.pgconn.send_query(f"SELECT * FROM {call}".encode())
        conn.pgconn.flush()
        conn.close()
        conn = bench.connect()
    else:
        conn.rollback()
        conn.execute("RESET statement_timeout")
    return conn


def cancels(bench):
    n = 1000 if QUICK else 10000
    sessions = 16
    pid = bench.health()["worker_pid"]
    ask = "SELECT glm_generate('Order 3 red chairs for Paris.', system => %s, temperature => 0.5, seed => 1)"
    expected = one(bench.conn, ask, EXTRACT)
    before = descriptors(pid), segments()
    done, wrong, answered, stop = [0] * sessions, [0], [0], threading.Event()

    def disturb(i):
        r, conn = random.Random(i), bench.connect()
        for _ in range(n // sessions):
            conn = end_early(bench, conn, r)
            done[i] += 1
        conn.close()

    def undisturbed():
        with bench.connect() as conn:
            while not stop.is_set():
                wrong[0] += one(conn, ask, EXTRACT) != expected
                answered[0] += 1

    start = time.monotonic()
    steady = threading.Thread(target=undisturbed)
    steady.start()
    in_background(disturb, range(sessions))
    seconds = time.monotonic() - start
    stop.set()
    steady.join()
    h = bench.settle()
    while one(bench.conn, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") > 1:
        time.sleep(0.05)
    bench.conn.execute("SELECT glm_count_tokens('a')")
    time.sleep(0.3)
    print(f"{sum(done)} requests cancelled, timed out, cut off or left in {seconds:.0f} s: {h['running']} sequences, "
          f"{h['kv_used_bytes']} KV bytes left; worker's descriptors {descriptors(pid) - before[0]:+d}, segments "
          f"{segments() - before[1]:+d}, same worker: {h['worker_pid'] == pid}; beside them {answered[0]} answers, {wrong[0]} of them changed")


# ---- A large model ----------------------------------------------------------------------------

class Stream(threading.Thread):
    """A session that streams; notes when each token came."""

    def __init__(self, bench, prompt, tokens, seed):
        super().__init__()
        self.conn, self.prompt, self.tokens, self.seed, self.times = bench.connect(), prompt, tokens, seed, []

    def run(self):
        self.begin = time.monotonic()
        try:
            self.read()
        except psycopg.errors.QueryCanceled:
            pass
        self.conn.close()

    def read(self):
        for _ in self.conn.cursor().stream("SELECT token FROM glm_stream(%s, model => 'large', temperature => 100, "
                                           "top_p => 1, seed => %s, max_tokens => %s)",
                                           (self.prompt, self.seed, self.tokens)):
            self.times.append(time.monotonic())


def run_streams(streams):
    for s in streams:
        s.start()
    for s in streams:
        s.join()


def forward_alone(model, work):
    out = subprocess.run([os.path.join(ROOT, "build", "bench", "forward"), "-r", "3", model, work], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[1])["tokens_per_second"]


def large_sessions(bench, model, sessions):
    before = forward_alone(model, f"decode:{sessions}")
    streams = [Stream(bench, f"{i} lamps for Berlin, and what else", 24, i) for i in range(sessions)]
    run_streams(streams)
    after = forward_alone(model, f"decode:{sessions}")
    first, last = max(s.times[0] for s in streams), min(s.times[-1] for s in streams)
    rate = sum(sum(first < t <= last for t in s.times) for s in streams) / (last - first)
    waits = sorted(s.times[0] - s.begin for s in streams)
    print(f"large model, {sessions} sessions: {rate:.1f} tokens/s together, the forward pass alone {before:.1f} before "
          f"and {after:.1f} after ({rate / max(before, after):.2f} of the better); first token of {sessions} arrivals after "
          f"{waits[0]:.2f} .. {waits[-1]:.2f} s", flush=True)


def large_prefill(bench, model):
    """A long prompt beside a stream."""
    chunk = 256 / forward_alone(model, "prefill:256")
    running = Stream(bench, "lamps", 200, 1)
    running.start()
    while len(running.times) < 8:
        time.sleep(0.1)
    long = Stream(bench, "A letter came from Berlin. " * 400, 1, 2)
    long.prompt = one(bench.conn, "SELECT glm_detokenize((glm_tokenize(%s, 'large'))[1:2000], 'large')", long.prompt)
    start = time.monotonic()
    long.start()
    long.join()
    end = time.monotonic()
    running.conn.cancel()
    running.join()
    times = [t for t in running.times if t < end]
    gaps = [b - a for a, b in zip(times, times[1:]) if b > start]
    print(f"large model, a prompt of 2,000 tokens beside a stream: read in {end - start:.1f} s; the stream's tokens at most "
          f"{max(gaps):.2f} s apart, {len(gaps)} of them meanwhile; a chunk of 256 alone takes {chunk:.2f} s", flush=True)


def large_rows(bench):
    """Rows in flight where a row is dear: answers of 32 tokens."""
    n, seconds = 32, {}
    bench.table([f"{i} lamps for Berlin" for i in range(n)])
    for prefetch in (32, 1):
        bench.conn.execute(f"SET chatglm.prefetch = {prefetch}")
        start = time.monotonic()
        # other seeds each time: what has been answered before is foreseen
        bench.conn.execute("SELECT glm_generate(body, model => 'large', temperature => 100, top_p => 1, seed => id + %s, "
                           "max_tokens => 32) FROM job", (1000 * prefetch,)).fetchall()
        seconds[prefetch] = time.monotonic() - start
    bench.conn.execute("RESET chatglm.prefetch")
    print(f"large model, {n} rows of 32 tokens: prefetch 1 {seconds[1]:.1f} s, prefetch 32 {seconds[32]:.1f} s "
          f"({seconds[1] / seconds[32]:.1f} times as fast)", flush=True)


def large(bench, model):
    bench.conn.execute("SELECT glm_model_load('large', %s)", (model,))
    for sessions in (8, 16):
        large_sessions(bench, model, sessions)
    large_prefill(bench, model)
    large_rows(bench)


FIGURES = {"rows": rows_in_flight, "prefix": shared_prefix, "speculation": speculation, "streams": streams, "cancels": cancels}


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    if not names and not any(a.startswith("--model=") for a in sys.argv):
        names = list(FIGURES)
    bench = Bench()
    try:
        print(json.dumps({k: bench.health()[k] for k in ("version", "kernels", "threads")}))
        for name in names:
            FIGURES[name](bench)
            sys.stdout.flush()
        for model in [a.split("=", 1)[1] for a in sys.argv if a.startswith("--model=")]:
            large(bench, model)
    finally:
        bench.conn.close()
        bench.cluster.remove()


if __name__ == "__main__":
    main()
