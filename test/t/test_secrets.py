"""test_secrets.py - nothing a role can see depends on what other roles ask, and paths are for who may read them.

Three roles with no rights but to connect, and a second database.  The measure
is cached_tokens: a prompt whose beginning was found in the prefix cache has
some, and whoever could see those of others could guess their prompts token by
token.
"""
import json
import os
import random
import shutil
import unittest

import psycopg

from harness import *

ROLES = ("secrets_a", "secrets_b", "secrets_c")
OTHER = "secrets_other"
LETTER = ("Dear bank, a note about my card. Please keep it for your files here. My PIN is {} and I would like you "
          "to send a new card to my home address, thanks a lot.")
UNTIL_PIN = LETTER.split("{}", maxsplit=1)[0]


def cached(conn, prompt, **options):
    messages = json.dumps([{"role": "user", "content": prompt}])
    usage = conn.execute("SELECT glm_chat(%s::jsonb, max_tokens => 1, options => %s)->'usage'",
                         [messages, json.dumps(options)]).fetchone()[0]
    return usage["prompt_tokens_details"]["cached_tokens"]


def letter(text=None):
    """A prompt of several blocks that nobody has sent before."""
    return f"{random.getrandbits(64)}. {text or LETTER.format(random.randrange(10**6))}"


class Roles(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with connect() as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {OTHER}")
            for role in ROLES:
                conn.execute(f"DROP ROLE IF EXISTS {role}")
                conn.execute(f"CREATE ROLE {role} LOGIN")
            conn.execute(f"CREATE DATABASE {OTHER}")
        with connect(dbname=OTHER) as conn:
            conn.execute("CREATE EXTENSION chatglm")

    @classmethod
    def tearDownClass(cls):
        with connect() as conn:
            conn.execute(f"DROP DATABASE {OTHER} WITH (FORCE)")
            for role in ROLES:
                conn.execute(f"DROP ROLE {role}")
        super().tearDownClass()

    def login(self, role, **arguments):
        return self.session(user=role, **arguments)

    def set_sharing(self, how):
        """ALTER ROLE ... SET (None: RESET), for the sessions that come."""
        with connect() as conn:
            for role in ROLES:
                change = "RESET chatglm.prefix_sharing" if how is None else f"SET chatglm.prefix_sharing = '{how}'"
                conn.execute(f"ALTER ROLE {role} {change}")


# ---- Shared beginnings -----------------------------------------------------------

class Sharing(Roles):
    def setUp(self):
        super().setUp()
        value("SELECT glm_model_unload('tiny-chatglm3')")   # and with it what tests before left in the cache

    def extract(self, conn, start):
        """The fault's script: of ten guesses the one with most cached tokens, if it stands out, six times."""
        got = ""
        cached(conn, start)     # what the probes have in common is the prober's own
        for _ in range(6):
            counts = [cached(conn, f"{start}{got}{digit}") for digit in range(10)]
            if counts.count(max(counts)) > 1:
                break
            got += str(counts.index(max(counts)))
        return got

    def test_pin(self):
        pin = f"{random.randrange(10**6):06d}"
        cached(self.login("secrets_a"), LETTER.format(pin))
        self.assertEqual(self.extract(self.login("secrets_b"), UNTIL_PIN), "")
        # nor by a guess of all of it, from any database
        for dbname in (os.environ["PGDATABASE"], OTHER):
            conn = self.login("secrets_c", dbname=dbname)
            self.assertEqual(cached(conn, LETTER.format(pin)), 0)

    def test_pin_where_all_share(self):
        """A guess of all of it does stand out where an administrator lets it: the measure is not blind.

        The script alone does not get it there any more: the ends of its own probes are in the cache, too."""
        self.set_sharing("all")
        self.addCleanup(self.set_sharing, None)
        start = f"{random.getrandbits(32)}. {UNTIL_PIN}"
        rest = LETTER.split("{}")[1]
        pin = f"{random.randrange(10**6):06d}"
        cached(self.login("secrets_a"), start + pin + rest)
        other = f"{(int(pin) + 111111) % 10**6:06d}"
        prober = self.login("secrets_b")
        right, wrong = cached(prober, start + pin + rest), cached(prober, start + other + rest)
        self.assertGreater(right, wrong)
        self.assertGreater(cached(self.login("secrets_c", dbname=OTHER), start + pin + rest), 32)

    def test_who_shares(self):
        prompt = letter()
        a, b = self.login("secrets_a"), self.login("secrets_b")
        self.assertEqual(cached(a, prompt), 0)
        self.assertGreater(cached(a, prompt), 32)
        self.assertGreater(cached(self.login("secrets_a"), prompt), 32)
        self.assertEqual(cached(b, prompt), 0)
        self.assertEqual(cached(self.login("secrets_a", dbname=OTHER), prompt), 0)
        self.assertEqual(cached(a, prompt, cache=False), 0)
        self.assertEqual(cached(self.session(), prompt), 0)

    def test_off(self):
        self.set_sharing("off")
        self.addCleanup(self.set_sharing, None)
        prompt = letter()
        for _ in range(2):
            self.assertEqual(cached(self.login("secrets_a"), prompt), 0)
        self.assertEqual(cached(self.login("secrets_a"), prompt, cache=True), 0)
        self.set_sharing(None)
        self.assertEqual(cached(self.login("secrets_a"), prompt), 0)  # nothing was left either

    def test_for_a_database(self):
        with connect() as conn:
            conn.execute(f"ALTER DATABASE {OTHER} SET chatglm.prefix_sharing = 'all'")
        self.addCleanup(self.session().execute, f"ALTER DATABASE {OTHER} RESET chatglm.prefix_sharing")
        prompt = letter()
        cached(self.login("secrets_a", dbname=OTHER), prompt)
        self.assertGreater(cached(self.login("secrets_b", dbname=OTHER), prompt), 32)
        self.assertEqual(cached(self.login("secrets_b"), prompt), 0)  # here it is not set

    def test_role_of_the_moment(self):
        """SET ROLE and SECURITY DEFINER: it counts whose rights do."""
        prompt = letter()
        conn = self.session()
        conn.execute("CREATE SCHEMA secrets AUTHORIZATION secrets_a; GRANT USAGE ON SCHEMA secrets TO PUBLIC")
        self.addCleanup(conn.execute, "RESET ROLE; DROP SCHEMA secrets CASCADE")
        conn.execute("SET ROLE secrets_a")
        cached(conn, prompt)
        self.assertGreater(cached(conn, prompt), 32)
        conn.execute("CREATE FUNCTION secrets.ask(jsonb) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT "
                     "public.glm_chat($1, max_tokens => 1) #>> '{usage,prompt_tokens_details,cached_tokens}'$$")
        conn.execute("SET ROLE secrets_b")
        self.assertEqual(cached(conn, prompt), 0)
        other = f"Something else. {letter()}"
        message = json.dumps([{"role": "user", "content": other}])
        self.assertEqual(value(f"SELECT secrets.ask('{message}')", conn), "0")
        self.assertEqual(cached(conn, other), 0)
        conn.execute("SET ROLE secrets_a")
        self.assertGreater(cached(conn, other), 32)

    def test_answers(self):
        """A right guess of somebody's answer is as invisible: the next message of a chat holds it."""
        first = [{"role": "user", "content": letter()}]
        answer = value(f"SELECT glm_chat('{json.dumps(first)}'::jsonb, max_tokens => 60)", self.login("secrets_a"))
        chat = first + [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "And?"}]
        ask = f"SELECT glm_chat('{json.dumps(chat)}'::jsonb, max_tokens => 1)"
        for role, most in (("secrets_b", 0), ("secrets_a", 10**6)):
            usage = value(ask, self.login(role))["usage"]
            self.assertLessEqual(usage["prompt_tokens_details"]["cached_tokens"], most)
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], 32)

    def test_explain(self):
        prompt = letter()
        rows = f"SELECT glm_generate('{prompt}' || left(x::text, 0), max_tokens => 1) FROM generate_series(1, 2) x"

        def cached_by(role, **arguments):
            plan = value(f"EXPLAIN (ANALYZE, FORMAT JSON) {rows}", self.login(role, **arguments))
            return plan[0]["Plan"]["Cached Tokens"]

        first = cached_by("secrets_a")
        self.assertGreater(cached_by("secrets_a"), first)
        self.assertEqual(cached_by("secrets_b"), first)
        self.assertEqual(cached_by("secrets_a", dbname=OTHER), first)


# ---- Figures ------------------------------------------------------------------------

class Figures(Roles):
    def read(self, conn):
        """Every figure that a role can read, but for times and what the kernel keeps in memory."""
        seen = {k: v for k, v in health(conn).items() if k not in ("uptime_s", "model_names", "worker_pid", "model_resident_bytes")}
        for view, without in (("glm_models", ("bytes_resident", "load_ms")), ("glm_stat_models", ()),
                              ("glm_stat_requests", ()), ("glm_stat_progress", ()),
                              ("glm_stat_roles", ()), ("glm_stat_errors", ()), ("glm_stat_histograms", ()), ("glm_profile", ()),
                              ("glm_stat_worker", ("worker_pid", "started", "model_resident_bytes"))):
            for (row,) in conn.execute(f"SELECT to_jsonb(v) FROM {view} v").fetchall():
                for key, figure in row.items():
                    if key not in without:
                        seen[f"{view} {row.get('name')} {key}"] = figure
        return seen

    def growth(self, watcher, ask):
        """What changes for the watcher while somebody asks."""
        self.assert_idle()
        before = self.read(watcher)
        ask()
        wait_until(lambda: self.read(watcher)["completed"] > before["completed"], "the request is counted")
        self.assert_idle()
        after = self.read(watcher)
        return {key: after[key] - before[key] for key in after
                if isinstance(after[key], (int, float)) and not isinstance(after[key], bool) and after[key] != before.get(key)}

    def test_contents_do_not_show(self):
        watcher = self.login("secrets_b")
        victim = self.login("secrets_a")
        known = letter()
        value("SELECT glm_generate('hello', max_tokens => 1)", victim)  # all is mapped from here on
        cached(victim, known)
        grown = [self.growth(watcher, ask) for ask in (
            lambda: cached(victim, "hi"),
            lambda: cached(victim, known),
            lambda: cached(victim, letter()),
            lambda: value(f"SELECT glm_generate('{letter()}', max_tokens => 90, temperature => 5)", victim))]
        for one in grown[1:]:
            self.assertEqual(one, grown[0])
        self.assertEqual(grown[0]["completed"], 1)

    def test_running_requests_do_not_show(self):
        """Nor does what a request is like show while it runs or waits."""
        watcher = self.login("secrets_b")
        seen = []
        for prompt, tokens in (("hi", 40), (letter(LETTER * 3), 100)):
            victim = self.login("secrets_a")
            victim.execute("BEGIN")
            victim.execute(f"DECLARE c CURSOR FOR SELECT * FROM glm_stream('{prompt}', temperature => 100, top_p => 1, "
                           f"seed => 1, max_tokens => {tokens})")
            victim.execute("FETCH 1 FROM c")
            wait_until(lambda: [health()[key] for key in ("running", "paused", "waiting")] == [1, 1, 0], "it pauses")
            seen.append({key: figure for key, figure in self.read(watcher).items()
                         if not key.startswith("glm_stat_requests") and key.split()[-1] not in ("requests", "completed")})
            self.assertEqual(watcher.execute("SELECT kind, model, started, tokens FROM glm_stat_requests").fetchall(),
                             [(None,) * 4])
            victim.execute("ROLLBACK")
            self.assert_idle()
        self.assertEqual(*({k: v for k, v in one.items() if k.split()[-1] != "cancelled"} for one in seen))

    def test_seen_by_who_may(self):
        ask = """SELECT prompt_tokens, cached_tokens, prefill_tokens, completion_tokens, kv_bytes_cached
                   FROM glm_stat_models WHERE name = 'tiny-chatglm3'"""
        value("SELECT glm_generate('hello')")
        self.assertEqual(self.login("secrets_b").execute(ask).fetchall(), [(None,) * 5])
        self.assertNotIn(None, self.session().execute(ask).fetchone())
        conn = self.login("secrets_c")
        with connect() as admin:
            admin.execute("GRANT pg_read_all_stats TO secrets_c")
        self.assertNotIn(None, conn.execute(ask).fetchone())
        self.assertIsNotNone(health(conn)["cached_tokens"])

    def test_health_does_not_wait(self):
        """Not for whoever alters the table of names either, which is read for who may not see all."""
        admin, conn = self.session(), self.login("secrets_b")
        admin.execute("BEGIN; LOCK TABLE chatglm.model IN ACCESS EXCLUSIVE MODE")
        conn.execute("SET statement_timeout = '60s'")
        self.assertTrue(health(conn)["ready"])
        self.assertEqual(health(conn)["model_names"], [])
        admin.execute("ROLLBACK")

    def test_models_of_other_databases(self):
        """Names that mean nothing here are not among the models, nor in glm_health() of who may not see totals."""
        with connect(dbname=OTHER) as conn:
            conn.execute("SELECT glm_model_load('elsewhere', path) FROM glm_models WHERE name = 'tiny-chatglm3'")
        conn = self.login("secrets_b")
        self.assertNotIn("elsewhere", health(conn)["model_names"])
        self.assertIn("tiny-chatglm3", health(conn)["model_names"])
        self.assertIn("elsewhere", health(self.login("secrets_b", dbname=OTHER))["model_names"])
        for view in ("glm_models", "glm_stat_models"):
            self.assertEqual(value(f"SELECT count(*) FROM {view} WHERE name = 'elsewhere'", self.session()), 0)


# ---- Paths ---------------------------------------------------------------------------

class Paths(Roles):
    def setUp(self):
        super().setUp()
        self.secret = directory_for_owner()
        self.addCleanup(shutil.rmtree, self.secret)
        self.conn = self.session()
        self.user = self.login("secrets_b")

    def register(self, name, spoil):
        """A model in a directory of this test, spoilt after it was registered."""
        path = os.path.join(self.secret, f"place-of-{name}")
        shutil.copytree(f"{ROOT}/models/tiny-chatglm3", path)
        if os.getuid() == 0:
            for directory in (path, *(os.path.join(path, file) for file in os.listdir(path))):
                shutil.chown(directory, "postgres", "postgres")
        self.conn.execute("INSERT INTO chatglm.model VALUES (%s, %s)", [name, path])
        self.addCleanup(self.conn.execute, "SELECT glm_model_unregister(%s)", [name])
        spoil(path)
        return path

    SPOILT = {
        "no_weights": lambda path: os.remove(f"{path}/model.safetensors"),
        "short_weights": lambda path: os.truncate(f"{path}/model.safetensors", 5000),
        "no_tokenizer": lambda path: os.remove(f"{path}/tokenizer.model"),
        "bad_tokenizer": lambda path: os.truncate(f"{path}/tokenizer.model", 100),
        "no_config": lambda path: os.remove(f"{path}/config.json"),
        "bad_config": lambda path: os.truncate(f"{path}/config.json", 20),
        "locked_config": lambda path: os.chmod(f"{path}/config.json", 0),
        "bad_index": lambda path: shutil.copy(f"{path}/config.json", f"{path}/model.safetensors.index.json"),
        "bad_manifest": lambda path: shutil.copy(f"{path}/config.json", f"{path}/chatglm.json"),
        "gone": shutil.rmtree,
    }

    def asked(self, conn, name):
        """The messages, with hints, of every way to ask."""
        yield from conn.execute(f"SELECT error FROM glm_try_generate('x', model => '{name}')").fetchone()
        yield from conn.execute(f"SELECT error FROM glm_generate_batch('{{x}}', model => '{name}')").fetchone()
        for sql in ("glm_generate('x', model => '{}')", "glm_count_tokens('x', '{}')", "glm_stream('x', model => '{}')",
                    "glm_logits('{{64790}}', '{}')", "glm_chat('[{{\"role\": \"user\", \"content\": \"x\"}}]', model => '{}')"):
            with self.assertRaises(psycopg.Error) as caught:
                conn.execute("SELECT " + sql.format(name)).fetchall()
            diag = caught.exception.diag
            yield " ".join(filter(None, (diag.message_primary, diag.message_detail, diag.message_hint, diag.context)))

    def test_errors(self):
        for name, spoil in self.SPOILT.items():
            path = self.register(name, spoil)
            for message in self.asked(self.user, name):
                self.assertNotIn(self.secret, message)
                self.assertNotIn("place-of", message)
                self.assertIn(f'"{name}"', message)
            for message in self.asked(self.conn, name):
                self.assertIn(path, message)

    def test_files_are_named(self):
        self.register("bad_config", self.SPOILT["bad_config"])
        self.assertIn('"config.json"', next(self.asked(self.user, "bad_config")))

    def test_long_paths(self):
        """Where the message is cut off within the path, its beginning goes too."""
        deep = self.secret
        for part in ("deep-%d-" % i + "d" * 180 for i in range(5)):
            deep = os.path.join(deep, part)
            for length in (60, 1):
                path = os.path.join(deep, "x" * length)
                self.conn.execute("INSERT INTO chatglm.model VALUES ('long', %s) "
                                  "ON CONFLICT (name) DO UPDATE SET path = EXCLUDED.path", [path])
                for message in self.asked(self.user, "long"):
                    self.assertNotIn("deep-0", message)
                    self.assertNotIn(os.path.basename(self.secret), message)
                    self.assertIn('"long"', message)
        self.conn.execute("SELECT glm_model_unregister('long')")

    def test_loading_by_name(self):
        """Who may load models, but not read files, registers no path and sees none."""
        self.register("no_weights", self.SPOILT["no_weights"])
        self.conn.execute("GRANT EXECUTE ON FUNCTION glm_model_load, glm_quantize TO secrets_b; "
                          "GRANT pg_write_server_files TO secrets_b")
        self.addCleanup(self.conn.execute, "REVOKE EXECUTE ON FUNCTION glm_model_load, glm_quantize FROM secrets_b; "
                        "REVOKE pg_write_server_files FROM secrets_b")
        for sql in ("glm_model_load('no_weights')", f"glm_quantize('no_weights', '{self.secret}/target')"):
            with self.assertRaises(psycopg.Error) as caught:
                self.user.execute(f"SELECT {sql}").fetchall()
            self.assertIn('"no_weights"', str(caught.exception))
            self.assertNotIn("place-of", str(caught.exception))

    def test_unreadable_model_dir(self):
        """Views go on, and why they show less is in the server's log only, whatever a client wants to hear."""
        locked = os.path.join(self.secret, "locked")
        os.mkdir(locked, 0)
        if os.getuid() == 0:
            shutil.chown(locked, "postgres", "postgres")
        self.addCleanup(os.chmod, locked, 0o700)
        self.addCleanup(wait_until, lambda: value("SELECT count(*) FROM glm_models WHERE name = 'tiny-chatglm3'"), "it is back")
        self.addCleanup(set_system, "chatglm.model_dir", None)
        set_system("chatglm.model_dir", locked)
        wait_until(lambda: value("SHOW chatglm.model_dir") == locked, "the setting is read")
        user = self.login("secrets_b")
        told = []
        user.add_notice_handler(lambda diag: told.append(diag.message_primary))
        user.execute("SET client_min_messages = debug1")
        self.assertEqual(user.execute("SELECT name FROM glm_models").fetchall(), [])
        self.assertTrue(health(user)["ready"])
        with self.assertRaises(psycopg.errors.UndefinedObject) as caught:
            user.execute("SELECT glm_count_tokens('x')")
        self.assertNotIn("locked", " ".join(told) + str(caught.exception))

    def test_views_and_settings(self):
        self.register("no_weights", lambda path: None)
        value("SELECT glm_count_tokens('x', 'no_weights')", self.conn)
        everything = " ".join(value(f"SELECT coalesce(jsonb_agg(v)::text, '') FROM {view} v", self.user)
                              for view in ("glm_models", "glm_stat_models", "glm_stat_requests", "glm_stat_progress"))
        self.assertIn("no_weights", everything)
        self.assertNotIn("place-of", everything + json.dumps(health(self.user)))
        self.assertNotIn("tiny-chatglm3/", everything)
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.user.execute("SHOW chatglm.model_dir")
        with self.assertRaises(psycopg.errors.UndefinedObject) as caught:
            self.user.execute("SELECT glm_generate('x', model => 'nonesuch')")
        self.assertNotIn("/", caught.exception.diag.message_hint)


if __name__ == "__main__":
    unittest.main()
