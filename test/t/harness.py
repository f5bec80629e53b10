"""harness.py - what the fault tests share: connections, conditions, injected faults, scratch clusters.

The tests talk to the private cluster of test/cluster.sh through PGHOST and
friends.  They wait for conditions (wait_until), never for a time: PATIENCE is
only for what never comes.  What has to be found running is ENDLESS, or the
engine is HELD.  Every test ends with the check that nothing of its requests is
left in the worker.  The server may run as another user than the tests: files
and commands of its own go through as_owner().
"""
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import psycopg

PG_CONFIG = os.environ.get("PG_CONFIG", "pg_config")
BINDIR = subprocess.check_output([PG_CONFIG, "--bindir"], text=True).strip()
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = float(os.environ.get("PATIENCE", "120"))         # s
HELD = 60000            # ms a step: nothing that runs gets on until another delay is set


def long_call(function, tokens=60, prompt="'hello'"):
    """A call whose answer has so many tokens whatever the model has learnt.

    At this temperature all ids are about equally likely.
    """
    return f"{function}({prompt}, temperature => 100, top_p => 1, seed => 1, max_tokens => {tokens})"


GENERATE = long_call("glm_generate")
STREAM = long_call("glm_stream")
# with a delay of 100 ms a step, minutes
ENDLESS = long_call("glm_generate", 1500)
ENDLESS_STREAM = long_call("glm_stream", 1500)


# ---- Conditions --------------------------------------------------------------

def wait_until(condition, what, timeout=PATIENCE):
    """Polls until condition() holds and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}")
        time.sleep(0.02)


# ---- The server --------------------------------------------------------------

def as_owner(*command, check=True):
    """Runs a command as the server's user and returns what it printed."""
    if os.getuid() == 0:
        command = ("runuser", "-u", "postgres", "--", *command)
    done = subprocess.run(command, cwd="/", text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}")
    return done.stdout


def directory_for_owner():
    """A new directory of the server's user, near the cluster's, whose path is short."""
    path = tempfile.mkdtemp(prefix="chatglm-", dir=os.path.dirname(os.environ["PGHOST"]))
    if os.getuid() == 0:
        shutil.chown(path, "postgres", "postgres")
    return path


def connect(**arguments):
    return psycopg.connect(**{"autocommit": True, **arguments})


def value(sql, conn=None):
    """The one value of a query, over a connection of its own unless one is given."""
    if conn is not None:
        return conn.execute(sql).fetchone()[0]
    with connect() as own:
        return own.execute(sql).fetchone()[0]


def health(conn=None):
    return value("SELECT glm_health()", conn)


def ended(conn=None):
    """Requests that have ended so far, in whatever way."""
    now = health(conn)
    return now["completed"] + now["failed"] + now["cancelled"]


def set_system(name, setting):
    """ALTER SYSTEM SET (None: RESET) and reload."""
    with connect() as conn:
        change = f"RESET {name}" if setting is None else f"SET {name} = '{setting}'"
        conn.execute(f"ALTER SYSTEM {change}")
        conn.execute("SELECT pg_reload_conf()")


def set_delay(ms):
    """Makes the worker sleep after every step from now on, also where it sleeps already."""
    set_system("chatglm.debug_step_delay", ms or None)
    value("SELECT 1")           # the postmaster tells the worker before it accepts this connection


# ---- The worker --------------------------------------------------------------

def worker_pid():
    """None while there is no worker."""
    return health().get("worker_pid")


def wait_let_go(pid, place):
    """Until a worker has no file of a directory mapped or open: a copy of weights that was being made ends after the unload."""
    seen = ("sh", "-c", f"cat /proc/{pid}/maps && {{ ls -l /proc/{pid}/fd || true; }}")      # ls fails where a file is closed meanwhile
    wait_until(lambda: f"{place}/" not in as_owner(*seen), "none of its files is mapped or open any more")


def worker_rss():
    """Resident memory of the worker in bytes."""
    with open(f"/proc/{worker_pid()}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_ticks(pid):
    """CPU time of a process in clock ticks."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def worker_segments():
    """Dynamic shared memory segments that the worker has mapped."""
    maps = as_owner("cat", f"/proc/{worker_pid()}/maps")
    return {line.split()[5] for line in maps.splitlines() if "/dev/shm/PostgreSQL." in line}


def threads_named(pid, name):
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm") as comm:
                if comm.read().strip() == name:
                    found.append(int(tid))
        except (FileNotFoundError, ProcessLookupError):
            pass                # a thread that has just ended
    return found


def signal_thread(pid, tid, signum):
    """tgkill(2): a fault of this thread as the kernel would report it."""
    if ctypes.CDLL(None, use_errno=True).tgkill(pid, tid, int(signum)) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")


# ---- Requests in the background ----------------------------------------------

class Background(threading.Thread):
    """Runs a query in a session of its own; result() gives its rows or raises its error."""

    def __init__(self, sql, **arguments):
        super().__init__(daemon=True)
        self.sql, self.rows, self.error = sql, None, None
        self.conn = connect(**arguments)
        self.pid = self.conn.info.backend_pid
        self.start()

    def run(self):
        try:
            cursor = self.conn.execute(self.sql)
            self.rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            self.error = error

    def result(self, timeout=PATIENCE):
        self.join(timeout)
        if self.is_alive():
            raise AssertionError(f"still running after {timeout} s: {self.sql}")
        if self.error is not None:
            raise self.error
        return self.rows


# ---- Cases -------------------------------------------------------------------

class Case(unittest.TestCase):
    """A test that finds the worker up and idle and has to leave it so."""

    delay = 0                   # ms a step at the beginning of each test

    @classmethod
    def setUpClass(cls):
        wait_until(lambda: value("SELECT glm_ready()"), "the worker is up")

    def setUp(self):
        self.addCleanup(self.assert_idle)
        if self.delay:
            set_delay(self.delay)
            self.addCleanup(set_delay, 0)

    def session(self, **arguments):
        conn = connect(**arguments)
        self.addCleanup(conn.close)
        return conn

    def background(self, sql, **arguments):
        running = Background(sql, **arguments)
        self.addCleanup(running.conn.close)
        return running

    def assert_idle(self):
        def idle():
            now = health()
            return now["running"] == now["waiting"] == now["kv_used_bytes"] == 0 and \
                value("SELECT count(*) FROM glm_stat_requests") == 0

        try:
            wait_until(idle, "no request is left")
        except AssertionError:
            self.fail(f"left behind: {health()}")

    def assert_times_out(self, conn, sql):
        """A statement's timeout ends its request in the worker; how long it takes to get there is the machine's affair."""
        cancelled = health()["cancelled"]
        for ms in (200, 1000, 5000, 25000):
            conn.execute(f"SET statement_timeout = '{ms}ms'")
            with self.assertRaises(psycopg.errors.QueryCanceled):
                conn.execute(sql)
            conn.execute("RESET statement_timeout")
            self.assert_idle()
            if health()["cancelled"] > cancelled:
                return
        self.fail("no request was cancelled")

    def wait_running(self, count=1):
        wait_until(lambda: health()["running"] == count, f"{count} running")


# ---- Scratch clusters ----------------------------------------------------------

class Cluster:
    """A cluster of a test's own, with its socket in its own directory; with primary (host, port, user), its standby.

    `environment` is what the server has beside ours.
    """

    postgres = None             # the server's binary, where it is another than BINDIR's

    def __init__(self, settings, primary=None, environment=None):
        self.environment = environment or {}
        self.base = directory_for_owner()
        self.data = os.path.join(self.base, "data")
        if primary:
            host, port, user = primary
            as_owner(f"{BINDIR}/pg_basebackup", "--pgdata", self.data, "--write-recovery-conf", "--checkpoint=fast",
                     "--host", host, "--port", str(port), "--username", user)
        else:
            as_owner(f"{BINDIR}/initdb", "--pgdata", self.data, "--username=postgres", "--auth=trust",
                     "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        self.settings = {"listen_addresses": "", "unix_socket_directories": self.base, "port": 5432,
                         "fsync": "off", **settings}
        self.start()

    def start(self):
        options = " ".join(f"-c {name}='{setting}'" for name, setting in self.settings.items())
        as_owner("env", *(f"{name}={setting}" for name, setting in self.environment.items()),
                 f"{BINDIR}/pg_ctl", "start", "--pgdata", self.data, "--silent", "--timeout=120",
                 "--log", os.path.join(self.base, "log"), "--options", options,
                 *(["-p", self.postgres] if self.postgres else []))

    def stop(self, mode="fast"):
        as_owner(f"{BINDIR}/pg_ctl", "stop", "--pgdata", self.data, f"--mode={mode}", "--silent")

    def connect(self, dbname="postgres"):
        return connect(host=self.base, port=5432, user="postgres", dbname=dbname)

    def log(self):
        return as_owner("cat", os.path.join(self.base, "log"))

    def remove(self):
        as_owner(f"{BINDIR}/pg_ctl", "stop", "--pgdata", self.data, "--mode=immediate", "--silent", check=False)
        shutil.rmtree(self.base, ignore_errors=True)
