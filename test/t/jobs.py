"""jobs.py - what the tests of batch jobs share: databases of their own, tables to enrich, waiting."""
import random

from harness import *

CALL = "glm_generate(body, system => 'Route the ticket to a queue.', max_tokens => 8)"
TRY = "glm_try_generate(body, system => 'Route the ticket to a queue.', max_tokens => 8)"
TEXTS = "ARRAY['I was charged twice for order ', 'The parcel never came, order ', 'I want to send back item ', " \
        "'The app crashes on start, version ', 'I cannot log in as user ', 'Do you have a discount for ']"


class JobCase(Case):
    """Each test has a database of its own, which is dropped while its jobs may still run."""

    def setUp(self):
        super().setUp()
        self.database = f"jobs_{random.randrange(10 ** 9)}"
        self.execute_in("postgres", f"CREATE DATABASE {self.database}")
        self.addCleanup(self.execute_in, "postgres", f"DROP DATABASE IF EXISTS {self.database}")
        self.notices = []
        self.conn = self.open()
        self.addCleanup(self.conn.close)
        self.conn.execute("CREATE EXTENSION chatglm")

    @staticmethod
    def execute_in(database, sql):
        with connect(dbname=database) as conn:
            conn.execute(sql)

    def open(self, **arguments):
        conn = connect(dbname=self.database, **arguments)
        conn.add_notice_handler(lambda diag: self.notices.append(diag.message_primary))
        self.addCleanup(conn.close)
        return conn

    def sql(self, text, *parameters):
        cursor = self.conn.execute(text, parameters or None)
        return cursor.fetchall() if cursor.description else None

    def one(self, text, *parameters):
        return self.sql(text, *parameters)[0][0]

    def make_table(self, rows, name="ticket"):
        self.sql(f"CREATE TABLE {name} (id bigint PRIMARY KEY, body text, queue text, other int DEFAULT 0)")
        self.sql(f"INSERT INTO {name} SELECT i, ({TEXTS})[1 + i % 6] || i FROM generate_series(1, {rows}) i")

    def make_job(self, name="job", source="ticket", target="queue", call=CALL, key="id", **options):
        self.sql("SELECT glm_job_create(%s, %s, %s, %s, %s, %s)", name, source, key, target, call,
                 psycopg.types.json.Jsonb(options))

    def job(self, column="state", name="job"):
        return self.one(f"SELECT {column} FROM glm_jobs WHERE name = %s", name)

    def wait_state(self, state, name="job", timeout=PATIENCE):
        wait_until(lambda: self.job("state", name) == state, f"job {name} is {state}", timeout)

    def wait_quiet(self, name="job", timeout=PATIENCE):
        """Until a continuous job has nothing to do."""
        wait_until(lambda: self.one("SELECT walked FROM chatglm.job WHERE name = %s", name) and
                   self.queued(name) == 0, f"job {name} is quiet", timeout)

    def queued(self, name="job"):
        """Rows of the queue, and what is to come into it."""
        return self.one("SELECT (SELECT count(*) FROM chatglm.job_queue WHERE job = %s) + "
                        "(SELECT count(*) FROM chatglm.job_change WHERE job = %s)", name, name)

    def wrong_answers(self, call=CALL, target="queue", table="ticket"):
        return self.one(f"SELECT count(*) FROM {table} t WHERE {target} IS DISTINCT FROM {call}")


def job_pids(database=None):
    with connect() as conn:
        return [row[0] for row in conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'chatglm job' AND (%s::text IS NULL OR datname = %s)",
            (database, database))]
