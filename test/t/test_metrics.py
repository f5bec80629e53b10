"""test_metrics.py - what is measured: OpenMetrics as Prometheus reads it, and what outlives workers and servers."""
import html
import os
import signal
import subprocess
import unittest
import xml.etree.ElementTree

from harness import *

from prometheus_client.openmetrics.parser import text_string_to_metric_families

HISTOGRAMS = ("queue_time_seconds", "first_token_seconds", "token_gap_seconds", "request_seconds",
              "request_prompt_tokens", "request_completion_tokens")


def families(conn):
    """What a scrape gives, by name; what is no OpenMetrics is an error of the parser's."""
    return {f.name: f for f in text_string_to_metric_families(value("SELECT glm_metrics()", conn))}


def counters(conn):
    """-> what is kept over restarts, but for how often the worker has started"""
    row = conn.cursor(row_factory=psycopg.rows.dict_row).execute("SELECT * FROM glm_stat_worker").fetchone()
    names = list(row)
    return {name: row[name] for name in names[names.index("starts") + 1:]}


class Metrics(unittest.TestCase):
    """A cluster of its own: nobody else may ask while figures are compared."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"shared_preload_libraries": "chatglm", "max_connections": 20,
                               "chatglm.speculation": "off"})     # so that each token has a pass of its own
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")

    def setUp(self):
        self.conn = self.login()
        value("SELECT glm_stat_reset()", self.conn)

    def login(self):
        conn = self.cluster.connect()
        self.addCleanup(conn.close)
        wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up", 60)
        return conn

    def settled(self, conn):
        """The counters when the worker has told all of what it did."""
        def same():
            before = counters(conn)
            time.sleep(0.2)
            return before if before == counters(conn) and health(conn)["running"] == 0 else None

        return wait_until(same, "the worker is quiet", 60)

    def test_all_families_from_the_start(self):
        found = families(self.conn)
        for name, family in found.items():
            self.assertTrue(name.startswith("chatglm_"), name)
            self.assertTrue(family.documentation, name)
            if not name.startswith("chatglm_model_") or family.type == "gauge":
                self.assertTrue(family.samples, name)
        for name in HISTOGRAMS:
            family = found["chatglm_" + name]
            self.assertEqual(family.type, "histogram")
            self.assertEqual({sample.value for sample in family.samples}, {0})
        self.assertEqual({sample.value for sample in found["chatglm_errors"].samples}, {0})
        self.assertIn("57T01", {sample.labels["sqlstate"] for sample in found["chatglm_errors"].samples})
        self.assertEqual(found["chatglm_up"].samples[0].value, 1)

    def test_a_scrape_sees_requests(self):
        for _ in range(3):
            value("SELECT glm_generate('hello', max_tokens => 4)", self.conn)
        found = families(self.conn)
        self.assertEqual(found["chatglm_completed"].samples[0].value, 3)
        self.assertEqual(found["chatglm_completion_tokens"].samples[0].value, 12)
        self.assertEqual([(s.labels, s.value) for s in found["chatglm_model_completed"].samples],
                         [({"model": "tiny-chatglm3"}, 3)])
        for name in HISTOGRAMS:
            samples = {s.name.removeprefix("chatglm_" + name): s.value for s in found["chatglm_" + name].samples
                       if s.labels.get("le", "+Inf") == "+Inf"}
            self.assertEqual(samples["_count"], samples["_bucket"])
            self.assertEqual(samples["_count"], 9 if name == "token_gap_seconds" else 3, name)

    def test_names_that_need_quoting(self):
        self.conn.execute("""INSERT INTO chatglm.model (name, path) SELECT 'a "b"', path FROM glm_models
                             WHERE name = 'tiny-chatglm3'""")
        self.addCleanup(self.conn.execute, "DELETE FROM chatglm.model")
        self.conn.execute("""SELECT glm_count_tokens('a', model => 'a "b"')""")
        self.assertIn({"model": 'a "b"'}, [s.labels for s in families(self.conn)["chatglm_model_completed"].samples])

    def test_counters_outlive_the_worker(self):
        value("SELECT glm_generate('hello', max_tokens => 4)", self.conn)
        before = self.settled(self.conn)
        pid = health(self.conn)["worker_pid"]
        as_owner("kill", "-TERM", str(pid))
        wait_until(lambda: health(self.conn).get("worker_pid", pid) != pid, "another worker", 60)
        after = counters(self.conn)
        self.assertEqual({name: after[name] for name in before if name != "loads"},
                         {name: before[name] for name in before if name != "loads"})
        self.assertEqual(value("SELECT starts FROM glm_stat_worker", self.conn), 1)
        self.assertEqual(value("SELECT completed FROM glm_stat_roles", self.conn), 1)

    def test_a_flame_graph_is_drawn(self):
        """The folded stacks are what such graphs are drawn from: here by a few lines, each frame as wide as its time."""
        for label, tokens in ("day", 6), ("a;b", 3):
            value(f"""SELECT glm_generate('hello', max_tokens => {tokens}, options => '{{"label": "{label}"}}')""", self.conn)
        stacks = [line.rsplit(" ", 1) for line in value("SELECT glm_profile_folded()", self.conn).splitlines()]
        frames = {}
        for stack, us in stacks:
            path = stack.split(";")
            for depth in range(1, len(path) + 1):
                frames[tuple(path[:depth])] = frames.get(tuple(path[:depth]), 0) + int(us)
        svg = xml.etree.ElementTree.fromstring("<svg>" + "".join(
            f"<rect x='0' y='{len(path)}' width='{us}'><title>{html.escape(path[-1])}</title></rect>" for path, us in sorted(frames.items())) + "</svg>")
        widths = {}
        for rect in svg:
            widths.setdefault(int(rect.get("y")), []).append(int(rect.get("width")))
        total = sum(int(us) for _, us in stacks)
        self.assertEqual(widths[1], [total])
        self.assertEqual(sum(widths[3]), total)
        self.assertEqual([path[:3] for path in sorted(frames) if len(path) == 3],
                         [("chatglm", "tiny-chatglm3", "a,b"), ("chatglm", "tiny-chatglm3", "day")])
        ms = value("SELECT sum(ms) FROM glm_profile", self.conn)
        self.assertLessEqual(total, ms * 1000)
        self.assertGreaterEqual(total, ms * 1000 - 2 * 11)

    def restart(self, mode="fast", change=lambda: None):
        self.conn.close()
        as_owner(f"{BINDIR}/pg_ctl", "stop", "--pgdata", self.cluster.data, f"--mode={mode}", "--silent")
        change()
        self.cluster.start()
        self.conn = self.login()

    def test_counters_outlive_the_server(self):
        value("SELECT glm_generate('hello', max_tokens => 4)", self.conn)
        with self.assertRaises(psycopg.errors.InvalidParameterValue):
            self.conn.execute("SELECT glm_detokenize('{-1}')")
        before = self.settled(self.conn)
        histograms = self.conn.execute("SELECT * FROM glm_stat_histograms").fetchall()
        since = value("SELECT stats_reset FROM glm_stat_worker", self.conn)
        self.restart()
        self.assertEqual(counters(self.conn), before)
        self.assertEqual(self.conn.execute("SELECT * FROM glm_stat_histograms").fetchall(), histograms)
        self.assertEqual(self.conn.execute("SELECT * FROM glm_stat_errors").fetchall(), [("reading", "22023", 1)])
        self.assertEqual(value("SELECT stats_reset FROM glm_stat_worker", self.conn), since)

    def test_a_crash_leaves_what_was_flushed_last(self):
        value("SELECT glm_generate('hello', max_tokens => 4)", self.conn)
        self.restart()
        flushed = counters(self.conn)
        self.assertEqual(flushed["completed"], 1)
        self.restart("immediate")
        self.assertEqual(counters(self.conn)["completed"], 1)

    def stat_file(self):
        return os.path.join(self.cluster.data, "pg_stat/chatglm.stat")

    def test_a_broken_file_is_ignored(self):
        file = self.stat_file()
        for change, fault in (((lambda: as_owner("truncate", "--size=1000", file)), "it has another length"),
                              ((lambda: as_owner("sh", "-c", f"printf x | dd of={file} bs=1 seek=200 conv=notrunc")), "its checksum is wrong"),
                              ((lambda: as_owner("sh", "-c", f"echo nonsense nonsense > {file}")), "it is no file of ours")):
            with self.subTest(fault):
                value("SELECT glm_count_tokens('a')", self.conn)
                self.restart(change=change)
                self.assertIn(f'chatglm ignores statistics file "pg_stat/chatglm.stat": {fault}', self.cluster.log())
                self.assertEqual(counters(self.conn)["completed"], 0)

    def small_disk(self, place):
        """A file system of 1 MB over this directory, with what was in it."""
        owner = os.stat(self.cluster.data)
        as_owner("cp", "-a", place, f"{self.cluster.base}/aside")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}", "tmpfs", place],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        as_owner("sh", "-c", f"cp -a {self.cluster.base}/aside/. {place}; rm -r {self.cluster.base}/aside")

    def restart_worker(self):
        pid = health(self.conn)["worker_pid"]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: health(self.conn).get("worker_pid") not in (None, pid), "a new worker")

    def test_no_space_left(self):
        """The log says so, the counters go on in the server's memory, and are in the file as soon as there is room."""
        place = os.path.dirname(self.stat_file())
        value("SELECT glm_count_tokens('a')", self.conn)
        self.restart_worker()                       # writes the file
        self.small_disk(place)
        as_owner("sh", "-c", f"cat /dev/zero > {place}/others", check=False)
        value("SELECT glm_count_tokens('a')", self.conn)
        with open(self.stat_file(), "rb") as file:
            before = file.read()
        self.restart_worker()
        for name in ("chatglm.stat", "chatglm_usage.stat"):
            self.assertIn(f'could not write file "pg_stat/{name}": No space left on device', self.cluster.log())
        with open(self.stat_file(), "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual({name for name in as_owner("ls", place).split() if name.endswith(".tmp")}, set())
        self.assertEqual(counters(self.conn)["completed"], 2)
        as_owner("rm", f"{place}/others")
        self.restart("fast")
        self.assertEqual(counters(self.conn)["completed"], 2)

    def test_a_broken_file_of_usage_is_ignored(self):
        value("SELECT glm_count_tokens('a')", self.conn)
        file = os.path.join(self.cluster.data, "pg_stat/chatglm_usage.stat")
        for change in (lambda: as_owner("sh", "-c", f"echo nonsense nonsense > {file}"), lambda: as_owner("truncate", "--size=16", file),
                       lambda: as_owner("chmod", "0", file), lambda: as_owner("sh", "-c", f"rm -f {file}; mkdir {file}")):
            logged = self.cluster.log().count("chatglm_usage.stat")
            self.restart(change=change)
            self.assertEqual(value("SELECT count(*) FROM glm_usage", self.conn), 0)
            self.assertGreater(self.cluster.log().count("chatglm_usage.stat"), logged)
            value("SELECT glm_count_tokens('a')", self.conn)
            wait_until(lambda: value("SELECT count(*) FROM glm_usage", self.conn) == 1, "it is counted")
        as_owner("rm", "-r", file)

    def test_none_is_no_fault(self):
        value("SELECT glm_count_tokens('a')", self.conn)
        logged = self.cluster.log().count("statistics file")
        self.restart(change=lambda: as_owner("rm", self.stat_file()))
        self.assertEqual(counters(self.conn)["completed"], 0)
        self.assertEqual(self.cluster.log().count("statistics file"), logged)


if __name__ == "__main__":
    unittest.main()
