"""run.py - runs the drivers' examples, which docs/recipes.md shows.

Each prints an answer as its tokens come.  The server, a scratch one that listens on the loopback interface, takes its time for
every token, so the first must be there while the request still runs, and all together must be what glm_generate answers.
"""
import glob
import os
import socket
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "t"))

from harness import *                                       # noqa: E402

PROMPT = "Who are you?"
LOCALHOST = "127.0.0.1"


def free_port():
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.cluster = Cluster({"listen_addresses": LOCALHOST, "port": cls.port, "shared_preload_libraries": "chatglm",
                               "chatglm.debug_step_delay": 100, "chatglm.speculation": "off"})
        cls.addClassCleanup(cls.cluster.remove)
        cls.server = {"PGHOST": LOCALHOST, "PGPORT": str(cls.port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        cls.query("CREATE EXTENSION chatglm")
        wait_until(lambda: cls.query("SELECT glm_ready()"), "the worker is up")
        cls.answer = cls.query(f"SELECT glm_generate('{PROMPT}')")

    @classmethod
    def query(cls, sql):
        with connect(host=LOCALHOST, port=cls.port, user="postgres", dbname="postgres") as conn:
            done = conn.execute(sql)
            return done.fetchone()[0] if done.description else None

    def assert_streams(self, *command, **env):
        with subprocess.Popen([*command, PROMPT], cwd=HERE, env={**os.environ, **self.server, **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            first = running.stdout.read1()
            under_way = self.query("SELECT count(*) FROM glm_stat_requests WHERE kind = 'stream'")
            rest, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 0, errors.decode())
        self.assertEqual((first + rest).decode(), self.answer + "\n")
        self.assertEqual(under_way, 1, "the first token came when all were made")

    def test_psycopg(self):
        self.assert_streams(sys.executable, "psycopg_stream.py")

    def test_asyncpg(self):
        self.assert_streams(sys.executable, "asyncpg_stream.py")

    def test_jdbc(self):
        url = f"jdbc:postgresql://{LOCALHOST}:{self.port}/postgres?user=postgres"
        self.assert_streams("java", "-cp", "/usr/share/java/postgresql.jar", "Stream.java", url)

    def test_node(self):
        unpacked = os.path.join(ROOT, "build/examples/node/usr/share/nodejs")
        self.assert_streams("node", "stream.js", NODE_PATH=f"{unpacked}:/usr/share/nodejs")

    def test_django(self):
        self.assert_streams(sys.executable, "django_stream.py")


class Pooled(Examples):
    """The same server behind pgbouncer: of its settings, only who and where differs from the ones shown."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bouncer_port = free_port()
        settings = os.path.join(cls.cluster.base, "pgbouncer.ini")
        with open(os.path.join(HERE, "pgbouncer.ini")) as shown, open(settings, "w") as used:
            used.write(f"{shown.read()}\n"
                       f"listen_port = {cls.bouncer_port}\nauth_type = any\nunix_socket_dir =\n"
                       f"[databases]\n* = host={LOCALHOST} port={cls.port} user=postgres\n")
        os.chmod(settings, 0o644)
        cls.bouncer = subprocess.Popen([*cls.as_postgres(), "/usr/sbin/pgbouncer", "-q", settings], cwd="/",
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.bouncer.wait)
        cls.addClassCleanup(cls.bouncer.terminate)
        wait_until(cls.listens, "pgbouncer listens")
        cls.server = {**cls.server, "PGPORT": str(cls.bouncer_port)}

    @staticmethod
    def as_postgres():
        return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups") if os.getuid() == 0 else ()

    @classmethod
    def listens(cls):
        with socket.socket() as probe:
            return probe.connect_ex((LOCALHOST, cls.bouncer_port)) == 0

    def test_psycopg(self):
        self.assert_streams(sys.executable, "pgbouncer_stream.py")

    def arguments(self):
        return {"host": LOCALHOST, "port": self.bouncer_port, "user": "postgres", "dbname": "postgres", "prepare_threshold": None}

    def test_rows_in_flight(self):
        with connect(**self.arguments()) as conn:
            rows = conn.execute(f"SELECT glm_generate('{PROMPT}', max_tokens => 3) FROM generate_series(1, 40)").fetchall()
        self.assertEqual(len(rows), 40)
        self.assertEqual(len(set(rows)), 1)

    def test_a_cancel(self):
        running = Background(f"SELECT {long_call('glm_generate', 600)}", **self.arguments())
        self.addCleanup(running.conn.close)
        wait_until(lambda: self.query("SELECT glm_health()")["running"] == 1, "the request runs")
        running.conn.cancel()
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()
        wait_until(lambda: self.query("SELECT glm_health()")["running"] == 0, "its request is gone")
