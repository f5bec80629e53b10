"""test_names.py - what a model's name means: in several databases, in a table somebody altered, in other encodings.

Each test has databases of its own, so that whatever it does to chatglm.model
goes with them.
"""
import json
import os
import shutil
import unittest

import psycopg

from harness import *

# as it is installed: the server's user need not be able to read this checkout
TINY = subprocess.check_output([PG_CONFIG, "--sharedir"], text=True).strip() + "/extension/chatglm/models/tiny-chatglm3"

class Names(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.n_made = 0

    def database(self, encoding="UTF8"):
        """The name of a new database with the extension in it."""
        self.n_made += 1
        name = f"names_{self.n_made}"
        self.conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' "
                          "LOCALE 'C'")
        self.addCleanup(self.conn.execute, f"DROP DATABASE {name} WITH (FORCE)")
        with connect(dbname=name, client_encoding="UTF8") as conn:
            conn.execute("CREATE EXTENSION chatglm")
        return name

    def role(self, name, *grants):
        self.conn.execute(f"DROP ROLE IF EXISTS {name}")
        self.conn.execute(f"CREATE ROLE {name} LOGIN")
        self.addCleanup(self.conn.execute, f"DROP ROLE {name}")
        for grant in grants:
            self.conn.execute(f"GRANT {grant} TO {name}")
        return name

    def copy(self):
        """A directory that holds a copy of the embedded model."""
        path = directory_for_owner()
        self.addCleanup(shutil.rmtree, path)
        for file in os.listdir(TINY):
            shutil.copy(f"{TINY}/{file}", path)
        return path

    def load(self, conn, name, path):
        conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
        self.addCleanup(conn.execute, "SELECT glm_model_unload(%s)", [name])

    def shown(self, conn, name, view="glm_models"):
        return conn.execute(f"SELECT to_jsonb(v) FROM {view} v WHERE name = %s", [name]).fetchone()[0]


# ---- Databases -----------------------------------------------------------------------

class Databases(Names):
    def two(self):
        """Two databases that call two directories by one name."""
        paths = [self.copy(), self.copy()]
        conns = [self.session(dbname=self.database()) for _ in paths]
        self.others = health()["model_names"].count("gold")  # perhaps of databases that are gone
        for conn, path in zip(conns, paths):
            self.load(conn, "gold", path)
        return conns, paths

    def count_loaded(self):
        return health()["model_names"].count("gold") - self.others

    def test_no_thrashing(self):
        conns, paths = self.two()
        before = [self.shown(conn, "gold") for conn in conns]
        for _ in range(5):
            for conn in conns:
                conn.execute("SELECT glm_count_tokens('x', 'gold')")
        for conn, path, then in zip(conns, paths, before):
            now = wait_until(lambda: (m := self.shown(conn, "gold"))["requests"] >= then["requests"] + 5 and m, "counted")
            self.assertEqual((now["requests"], now["load_ms"], now["path"]), (then["requests"] + 5, then["load_ms"], path))
            self.assertEqual(self.shown(conn, "gold", "glm_stat_models")["requests"], now["requests"])

    def test_unload(self):
        (one, two), _ = self.two()
        self.load(two, "silver", TINY)
        self.assertFalse(value("SELECT glm_model_unload('silver')", one))   # means nothing here
        self.assertTrue(value("SELECT glm_model_unload('gold')", one))
        self.assertFalse(value("SELECT glm_model_unload('gold')", one))
        self.assertFalse(self.shown(one, "gold")["loaded"])
        self.assertTrue(self.shown(two, "gold")["loaded"])
        self.assertTrue(self.shown(two, "silver")["loaded"])

    def test_unregister(self):
        (one, two), _ = self.two()
        self.assertTrue(value("SELECT glm_model_unregister('gold')", one))
        self.assertFalse(value("SELECT glm_model_unregister('gold')", one))
        self.assertEqual(value("SELECT count(*) FROM glm_models WHERE name = 'gold'", one), 0)
        with self.assertRaises(psycopg.errors.UndefinedObject):
            one.execute("SELECT glm_count_tokens('x', 'gold')")
        self.assertTrue(self.shown(two, "gold")["loaded"])
        self.assertEqual(self.count_loaded(), 1)

    def test_registered_anew(self):
        """Another path under the name: what it meant goes, unless another database means it."""
        (one, two), (first, second) = self.two()
        one.execute("SELECT glm_model_load('gold', %s)", [second])
        self.assertEqual(self.count_loaded(), 1)    # they mean the same now
        one.execute("SELECT glm_model_load('gold', %s)", [first])
        self.assertEqual(self.count_loaded(), 2)
        self.assertTrue(self.shown(two, "gold")["loaded"])

    def test_not_shown(self):
        """A name whose row was deleted, changed or never committed cannot be used, and is not shown."""
        (one, _), (path, _) = self.two()
        one.execute("BEGIN")
        one.execute("SELECT glm_model_load('never', %s)", [path])
        self.assertTrue(self.shown(one, "never")["loaded"])
        one.execute("ROLLBACK")
        one.execute("DELETE FROM chatglm.model WHERE name = 'gold'")
        for name in ("never", "gold"):
            for view in ("glm_models", "glm_stat_models"):
                self.assertEqual(value(f"SELECT count(*) FROM {view} WHERE name = '{name}'", one), 0)
            self.assertTrue(value(f"SELECT glm_model_unload('{name}')", one))   # what is left of it
        self.assertFalse(value("SELECT glm_model_unload('typo')", one))
        self.assertEqual(value("SELECT array_agg(name) FROM glm_models", one), ["tiny-chatglm3"])

    def test_notice(self):
        """A name that never was is told from one that is not loaded."""
        notices = []
        self.conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
        value("SELECT glm_model_unload('typo')", self.conn)
        self.assertEqual(notices, ['model "typo" does not exist'])
        value("SELECT glm_model_unload('tiny-chatglm3'), glm_model_unload('tiny-chatglm3')", self.conn)
        self.assertEqual(len(notices), 1)


# ---- Rights on the table ----------------------------------------------------------------

class Rights(Names):
    def setUp(self):
        super().setUp()
        self.role("names_loader", "pg_read_server_files")
        self.role("names_owner")
        self.dbname = self.database()
        self.admin = self.session(dbname=self.dbname)
        self.admin.execute("CREATE SCHEMA theirs; GRANT ALL ON SCHEMA theirs TO PUBLIC")

    def loader(self, *grants):
        """Somebody who may register models."""
        self.admin.execute("GRANT EXECUTE ON FUNCTION glm_model_load, glm_model_unregister TO names_loader")
        for grant in grants:
            self.admin.execute(f"GRANT {grant} TO names_loader")
        return self.session(dbname=self.dbname, user="names_loader")

    def is_superuser(self, role="names_loader"):
        return value(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'", self.conn)

    ESCALATE = """CREATE OR REPLACE FUNCTION theirs.escalate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        EXECUTE 'ALTER ROLE names_loader SUPERUSER'; RETURN coalesce(new, old); END$$"""

    def test_triggers(self):
        conn = self.loader("ALL ON chatglm.model", "ALL ON SCHEMA chatglm")
        conn.execute(self.ESCALATE)
        for when in ("BEFORE INSERT OR UPDATE OR DELETE ON chatglm.model FOR EACH ROW",
                     "AFTER INSERT OR UPDATE OR DELETE ON chatglm.model FOR EACH ROW",
                     "BEFORE INSERT OR UPDATE OR DELETE ON chatglm.model FOR EACH STATEMENT",
                     "AFTER INSERT ON chatglm.model REFERENCING NEW TABLE AS t FOR EACH STATEMENT"):
            conn.execute(f"CREATE TRIGGER aaa {when} EXECUTE FUNCTION theirs.escalate()")
            for caller in (conn, self.admin):
                for sql in (f"glm_model_load('esc', '{TINY}')", "glm_model_unregister('esc')"):
                    with self.assertRaisesRegex(psycopg.errors.ObjectNotInPrerequisiteState, 'trigger "aaa"'):
                        caller.execute(f"SELECT {sql}")
            self.assertFalse(self.is_superuser())
            self.admin.execute("DROP TRIGGER aaa ON chatglm.model")
        # and without it all is well
        for path in (TINY, self.copy()):
            conn.execute("SELECT glm_model_load('esc', %s)", [path])
        self.assertTrue(value("SELECT glm_model_unregister('esc')", conn))
        self.assertFalse(self.is_superuser())

    def test_what_an_owner_attaches(self):
        """Nothing on the table runs code of an earlier or later owner, with anybody's rights."""
        conn = self.loader()
        self.admin.execute("""GRANT CREATE, USAGE ON SCHEMA chatglm TO names_loader;
            ALTER TABLE chatglm.model OWNER TO names_loader""")
        conn.execute("""CREATE FUNCTION theirs.spy(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
            EXECUTE 'ALTER ROLE names_loader SUPERUSER'; RETURN $1; EXCEPTION WHEN OTHERS THEN RETURN $1; END$$;
            CREATE TABLE theirs.log (name text)""")
        for attach, drop in (
                ("CREATE INDEX spy ON chatglm.model (theirs.spy(path))", "DROP INDEX chatglm.spy"),
                ("CREATE INDEX spy ON chatglm.model (path) WHERE theirs.spy(path) > ''", "DROP INDEX chatglm.spy"),
                ("ALTER TABLE chatglm.model ADD CONSTRAINT spy CHECK (theirs.spy(path) > '')",
                 "ALTER TABLE chatglm.model DROP CONSTRAINT spy"),
                ("CREATE RULE spy AS ON INSERT TO chatglm.model DO ALSO INSERT INTO theirs.log SELECT theirs.spy(new.path)",
                 "DROP RULE spy ON chatglm.model"),
                ("ALTER TABLE chatglm.model ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
                 "CREATE POLICY spy ON chatglm.model USING (theirs.spy(path) > '')",
                 "DROP POLICY spy ON chatglm.model; "
                 "ALTER TABLE chatglm.model DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")):
            conn.execute(attach)
            for owner in ("names_loader", "postgres"):
                self.admin.execute(f"ALTER TABLE chatglm.model OWNER TO {owner}")
                with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
                    self.admin.execute("SELECT glm_model_load('esc', %s)", [TINY])
            self.assertFalse(self.is_superuser())
            self.admin.execute("ALTER TABLE chatglm.model OWNER TO names_loader")
            conn.execute(drop)
        self.load(self.admin, "esc", TINY)

    def test_referenced(self):
        """A foreign key to a name does not keep models from being registered, only that one from going."""
        self.load(self.admin, "esc", TINY)
        self.admin.execute("CREATE TABLE theirs.uses (name text REFERENCES chatglm.model); INSERT INTO theirs.uses VALUES ('esc')")
        self.load(self.admin, "esc", self.copy())
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
            self.admin.execute("SELECT glm_model_unregister('esc')")

    def test_another_owner(self):
        """The caller's rights count, not those of the table's owner."""
        conn = self.loader()
        self.admin.execute("ALTER TABLE chatglm.model OWNER TO names_owner")
        for caller in (self.admin, conn):
            caller.execute("SELECT glm_model_load('other', %s)", [TINY])
            self.assertGreater(value("SELECT glm_count_tokens('x', 'other')", caller), 0)
            self.assertTrue(value("SELECT glm_model_unregister('other')", caller))
        self.conn.execute("REVOKE pg_read_server_files FROM names_loader")
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT glm_model_load('other', %s)", [TINY])

    def test_read_only(self):
        self.admin.execute("SET default_transaction_read_only = on")
        for sql in (f"glm_model_load('other', '{TINY}')", "glm_model_unregister('other')"):
            with self.assertRaises(psycopg.errors.ReadOnlySqlTransaction):
                self.admin.execute(f"SELECT {sql}")

    def test_two_at_once(self):
        """Who registers a name second waits for the first, and finds it."""
        other = self.session(dbname=self.dbname)
        path = self.copy()
        for end, found in (("COMMIT", 2), ("ROLLBACK", 2)):
            self.admin.execute("BEGIN")
            self.admin.execute("SELECT glm_model_load('twice', %s)", [TINY])
            waiting = Background(f"SELECT glm_model_load('twice', '{path}'), count(*) FROM glm_models", dbname=self.dbname)
            self.addCleanup(waiting.conn.close)
            wait_until(lambda: value("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %d" % waiting.pid, self.conn),
                       "the second waits")
            self.admin.execute(end)
            waiting.result()
            self.assertEqual(value("SELECT path FROM chatglm.model", other), path)
            self.assertEqual(value("SELECT count(*) FROM glm_models", other), found)
            self.assertTrue(value("SELECT glm_model_unregister('twice')", other))


# ---- A table that was altered ---------------------------------------------------------------

class Altered(Names):
    """Whatever its owner does to the table: errors, and never a crash."""

    def setUp(self):
        super().setUp()
        self.admin = self.session(dbname=self.database())
        self.started = value("SELECT pg_postmaster_start_time()", self.conn)
        self.pid = worker_pid()

    def assert_sound(self):
        self.assertEqual(worker_pid(), self.pid)
        self.assertGreater(value("SELECT glm_count_tokens('x')", self.admin), 0)
        self.assertEqual(value("SELECT count(*) FROM glm_models WHERE name = 'tiny-chatglm3'", self.admin), 1)
        self.assertTrue(health(self.admin)["ready"])

    def test_nulls(self):
        self.admin.execute("ALTER TABLE chatglm.model ALTER path DROP NOT NULL, DROP CONSTRAINT model_pkey")
        self.admin.execute("ALTER TABLE chatglm.model ALTER name DROP NOT NULL")
        for row in ("('nul', NULL)", "(NULL, '/tmp')"):
            with self.assertRaises(psycopg.errors.NotNullViolation):
                self.admin.execute(f"INSERT INTO chatglm.model VALUES {row}")
        self.admin.execute("ALTER TABLE chatglm.model DISABLE TRIGGER ALL")
        self.admin.execute("INSERT INTO chatglm.model VALUES ('nul', NULL), (NULL, '/tmp'), (NULL, NULL)")
        for sql in ("glm_count_tokens('x', 'nul')", "glm_model_load('nul')", "glm_generate('x', model => 'nul')",
                    "glm_quantize('nul', '/tmp/nonesuch/x')"):
            with self.assertRaisesRegex(psycopg.errors.NullValueNotAllowed, '"nul" has no path'):
                self.admin.execute(f"SELECT {sql}")
        self.assertIn('"nul" has no path', value("SELECT (glm_try_generate('x', model => 'nul')).error", self.admin))
        self.assertFalse(value("SELECT glm_model_unload('nul')", self.admin))
        self.assertEqual(value("SELECT count(*) FROM glm_models", self.admin), 1)
        self.assert_sound()
        self.admin.execute("SELECT glm_model_load('nul', %s)", [TINY])  # writes over it
        self.assertGreater(value("SELECT glm_count_tokens('x', 'nul')", self.admin), 0)
        self.assertTrue(value("SELECT glm_model_unregister('nul')", self.admin))

    def test_columns(self):
        for alter in ("ALTER path TYPE int USING 7", "ALTER path TYPE bytea USING '\\x00'", "ALTER name TYPE bigint USING 7",
                      "ALTER options TYPE int USING 7", "ALTER options TYPE text USING 'x'", "DROP path", "DROP options",
                      "DROP name CASCADE"):
            with self.subTest(alter), self.session(dbname=self.database()) as conn:
                conn.execute("SELECT glm_model_load('m', %s, '{}')", [TINY])
                conn.execute("ALTER TABLE chatglm.model DISABLE TRIGGER ALL")
                conn.execute(f"ALTER TABLE chatglm.model {alter}")
                for sql in ("glm_count_tokens('x', 'm')", f"glm_model_load('m', '{TINY}')", "glm_model_unregister('m')"):
                    with self.assertRaises((psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable)):
                        conn.execute(f"SELECT {sql}")
                conn.execute("ALTER TABLE chatglm.model ENABLE TRIGGER ALL")
                with self.assertRaises(psycopg.Error):
                    conn.execute("INSERT INTO chatglm.model SELECT * FROM chatglm.model")
                    conn.execute("INSERT INTO chatglm.model DEFAULT VALUES")
                self.assertEqual(value("SELECT array_agg(name) FROM glm_models", conn), ["tiny-chatglm3"])
                value("SELECT glm_model_unload('m')", conn)
        self.assert_sound()


# ---- Encodings ---------------------------------------------------------------------------------

class Encodings(Names):
    def setUp(self):
        super().setUp()
        self.here = self.session(dbname=self.database())
        self.load(self.here, "模型😀", TINY)
        self.load(self.here, "é", self.copy())

    SHOWN = {"LATIN1": ["\\u6a21\\u578b\\U0001f600", "é"], "EUC_CN": ["模型\\U0001f600", "é"],
             "SQL_ASCII": ["模型😀", "é"], "UTF8": ["模型😀", "é"]}

    def test_views(self):
        """What is shown of other databases' models and requests is shown in every encoding."""
        self.here.execute("BEGIN")
        self.here.execute("DECLARE c CURSOR FOR SELECT * FROM glm_stream('x', model => '模型😀', temperature => 100, "
                          "top_p => 1, seed => 1, max_tokens => 400)")
        self.here.execute("FETCH 1 FROM c")     # and then it pauses
        for encoding, names in self.SHOWN.items():
            with self.session(dbname=self.database(encoding), client_encoding="UTF8") as conn:
                for name in names:
                    self.assertIn(name, health(conn)["model_names"])
                for view in ("glm_models", "glm_stat_models", "glm_stat_progress"):
                    conn.execute(f"SELECT * FROM {view}").fetchall()
                self.assertIn(names[0], [row[0] for row in conn.execute("SELECT model FROM glm_stat_requests")])
                conn.execute("SELECT glm_model_load('own', %s)", [TINY])
                self.assertTrue(self.shown(conn, "own")["loaded"])
        self.here.execute("ROLLBACK")

    def test_own_names(self):
        """A name of the database's own encoding is found again among the loaded ones, however long it is in UTF-8."""
        for encoding, name in (("LATIN1", "é" * 63), ("EUC_CN", "模" * 31), ("SQL_ASCII", "模" * 20), ("UTF8", "模" * 21)):
            with self.session(dbname=self.database(encoding), client_encoding="UTF8") as conn:
                conn.execute("SELECT glm_model_load(%s, %s)", [name, TINY])
                self.assertTrue(self.shown(conn, name)["loaded"])
                self.assertEqual(self.shown(conn, name, "glm_stat_models")["name"], name)
                self.assertIn(name, health(conn)["model_names"])
                self.assertTrue(value(f"SELECT glm_model_unregister('{name}')", conn))

    def test_errors(self):
        """An error that quotes what the database cannot write is still that error."""
        path = self.copy()
        with open(f"{TINY}/config.json", encoding="utf-8") as config:
            settings = json.load(config)
        with open(f"{path}/config.json", "w", encoding="utf-8") as config:
            json.dump({**settings, "model_type": "模型😀 é"}, config, ensure_ascii=False)
        for encoding, names in self.SHOWN.items():
            with self.session(dbname=self.database(encoding), client_encoding="UTF8") as conn:
                with self.assertRaises(psycopg.errors.FeatureNotSupported) as caught:
                    conn.execute("SELECT glm_model_load('m', %s)", [path])
                self.assertIn(f'"{names[0]} {names[1]}"', caught.exception.diag.message_primary)


if __name__ == "__main__":
    unittest.main()
