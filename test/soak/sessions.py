"""sessions.py - a client's session in the soak: its connection, its requests, and which errors it may get."""
import array
import asyncio
import collections
import random
import time

import psycopg

import calls

ROLES = 4
THINK = 0.5             # s between a session's requests, on average
# What a request may get when the worker is lost under it or is not back yet, or when the server restarts.
LOST = {None, "08006", "55000", "57P01", "57P02", "57P03", "58000"}
ENDED = {"57P01", "57P02", "57P03"}     # of these, with which the server closes the connection


class Tally:
    """What came of all requests."""

    def __init__(self):
        self.requests, self.lost, self.ended, self.bad = 0, 0, collections.Counter(), []
        self.known = {}
        self.forget_times()

    def forget_times(self):
        self.begin, self.latencies = time.monotonic(), collections.defaultdict(lambda: array.array("f"))

    def check(self, what, answer, expected=None):
        """Compares with the first answer, or with what is expected."""
        if answer != self.known.setdefault(what, answer if expected is None else expected):
            self.bad.append(f"another answer: {what}: {answer} instead of {self.known[what]}")


class Session:
    """Asks `server` (a Soak) as one of some roles; `stays` unless the server ends."""

    def __init__(self, server, role="postgres", stays=True):
        self.server, self.role, self.stays, self.tally = server, role, stays, server.tally
        self.conn, self.faults = None, 0

    async def open(self):
        """Connects if need be; waits as long as the server is in recovery."""
        while self.conn is None or self.conn.closed:
            try:
                self.conn = await psycopg.AsyncConnection.connect(
                    host=self.server.cluster.base, port=5432, user=self.role, dbname="postgres", autocommit=True,
                    prepare_threshold=None)
            except psycopg.OperationalError:
                if not self.server.striking:
                    raise
                await asyncio.sleep(0.05)

    async def run(self, work):
        """Does `work` again and again while the server's gate is open; `work` tells how long to rest."""
        while True:
            await self.server.go.wait()
            self.server.busy += 1
            rest = 0.1
            try:
                await self.open()
                rest = await work(self)
            except psycopg.Error as error:
                self.failed(work.__name__, error, ())
            finally:
                self.settle()
                self.server.busy -= 1
            await asyncio.sleep(rest)

    def failed(self, kind, error, asked_for):
        """A fault may have come at any time since the last request: the connection of an idle session is gone, too."""
        if error.sqlstate in asked_for:
            self.tally.ended[error.sqlstate] += 1
        elif error.sqlstate in LOST and self.faults != self.server.faults:
            self.tally.lost += 1
        else:
            self.tally.bad.append(f"an error not asked for: {kind}: {error.sqlstate} {error}")

    def settle(self):
        """From now on an error is one of a later fault, unless one is not over."""
        self.faults = None if self.server.striking else self.server.faults

    async def ask(self, kind, statements, asked_for=()):
        """-> the last statement's rows, or None after an error."""
        begin, rows = time.monotonic(), []
        self.tally.requests += 1
        try:
            for sql in statements:
                cursor = await self.conn.execute(sql)
                rows = await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            self.failed(kind, error, asked_for)
            if error.sqlstate in ENDED:
                await self.conn.close()     # as the server does, whose word for it may come after the fault is over
            return None
        finally:
            self.settle()
        self.tally.latencies[kind].append(time.monotonic() - begin)
        return rows

    # ---- ways to ask ----

    async def cancelled(self, r):
        running = asyncio.ensure_future(self.ask("cancelled", [f"SELECT count(*) FROM {calls.endless(r)}"], (calls.CANCELED,)))
        await asyncio.sleep(0.05 * r.random())
        await asyncio.get_running_loop().run_in_executor(None, self.cancel)
        await running

    def cancel(self):
        try:
            self.conn.cancel()
        except psycopg.Error:
            pass                # the session has ended with the server

    async def cut_off(self, r):
        """The client goes away in the middle of a stream."""
        self.conn.pgconn.send_query(f"SELECT * FROM {calls.endless(r)}".encode())
        self.conn.pgconn.flush()
        await asyncio.sleep(0.05 * r.random())
        await self.conn.close()
        self.tally.ended["connections cut off"] += 1

    async def end_early(self, r):
        way = r.choice(calls.EARLY)
        await self.ask(way.__name__, *way(r))
        if not self.conn.closed:
            await self.ask("reset", ["ROLLBACK", "RESET statement_timeout"])


def asking(number):
    """-> what the session of this number does, for Session.run: a fixed statement in four of five requests."""
    r, fixed = random.Random(number), calls.fixed()

    async def request(session):
        way = r.random()
        if way < 0.8:
            kind, sql = r.choice(fixed)
            rows = await session.ask(kind, [sql])
            if rows is not None:
                session.tally.check(sql, rows)
        elif way < 0.96:
            await session.end_early(r)
        elif way < 0.98 or session.stays:
            await session.cancelled(r)
        else:
            await session.cut_off(r)
        return 2 * THINK * r.random()

    return request
