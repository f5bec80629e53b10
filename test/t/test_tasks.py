"""test_tasks.py - functions for tasks: their prompts in several sessions and in a dump, what a scripted model finds to redact.
"""
import json
import shutil
import subprocess
import unittest

import psycopg

import scripted
from harness import *


def program(name, *arguments, **more):
    done = subprocess.run([f"{BINDIR}/{name}", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{name}: {done.stderr}")
    return done.stdout


class Prompts(Case):
    """chatglm.task_prompt in a database of its own."""

    def database(self, name, encoding="UTF8"):
        conn = self.session()
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
        self.addCleanup(conn.execute, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        return name

    def test_a_change_is_in_force_at_once_elsewhere(self):
        name = self.database("chatglm_prompts")
        one, other = self.session(dbname=name), self.session(dbname=name)
        one.execute("CREATE EXTENSION chatglm")
        ask = "SELECT (glm_try_summarize('hello', max_tokens => 2)).prompt_tokens"
        before = value(ask, other)
        other.execute("PREPARE asked AS " + ask)
        self.assertEqual(value("EXECUTE asked", other), before)
        one.execute("UPDATE chatglm.task_prompt SET text = 'Much longer than it was before, so that it shows: {content}' WHERE name = 'summarize'")
        after = value("EXECUTE asked", other)
        self.assertNotEqual(after, before)
        self.assertEqual(after, value(ask, one))
        with one.transaction():
            one.execute("DELETE FROM chatglm.task_prompt")
            self.assertEqual(value("EXECUTE asked", other), after, "not before it is committed")
            self.assertEqual(value(ask, one), before, "the extension's own")
        self.assertEqual(value("EXECUTE asked", other), before)

    def test_a_dump_has_what_was_changed(self):
        source = self.database("chatglm_prompts")
        conn = self.session(dbname=source)
        conn.execute("CREATE EXTENSION chatglm")
        conn.execute("UPDATE chatglm.task_prompt SET text = 'changed {content}' WHERE name = 'summarize' AND language = 'en'")
        conn.execute("INSERT INTO chatglm.task_prompt VALUES ('translate', 'en', 'new {content} {language}'), ('summarize', 'de', 'neu {content}'), ('mine', 'en', 'x')")
        changed = "SELECT name, language, text FROM chatglm.task_prompt WHERE changed ORDER BY 1, 2"
        rows = conn.execute(changed).fetchall()
        self.assertEqual(len(rows), 4)
        count = value("SELECT count(*) FROM chatglm.task_prompt", conn)
        for options in ((), ("--inserts",), ("--column-inserts", "--on-conflict-do-nothing")):
            with self.subTest(options):
                dump = program("pg_dump", "--dbname", source, *options)
                self.assertIn("neu {content}", dump)
                self.assertNotIn("Classify the sentiment", dump)
                target = self.database("chatglm_restored")
                program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", target, input=dump)
                restored = self.session(dbname=target)
                self.assertEqual(restored.execute(changed).fetchall(), rows)
                self.assertEqual(value("SELECT count(*) FROM chatglm.task_prompt", restored), count)
                again = program("pg_dump", "--dbname", target, *options)
                self.assertIn("neu {content}", again)
                restored.close()

    def test_encodings(self):
        """Where an encoding lacks the characters, there are the English ones."""
        here = self.session()
        for encoding, languages in (("LATIN1", ["en"]), ("EUC_CN", ["en", "zh"]), ("SQL_ASCII", ["en", "zh"])):
            with self.subTest(encoding):
                conn = self.session(dbname=self.database("chatglm_prompts", encoding), client_encoding="UTF8")
                conn.execute("CREATE EXTENSION chatglm")
                self.assertEqual(value("SELECT array_agg(DISTINCT language ORDER BY language) FROM chatglm.task_prompt", conn), languages)
                conn.execute("SET chatglm.task_language = 'zh'")
                self.assertIsNotNone(value("SELECT glm_summarize('hello', max_tokens => 2)", conn))
                tokens = value("SELECT (glm_try_summarize('hello', max_tokens => 2)).prompt_tokens", conn)
                here.execute(f"SET chatglm.task_language = {languages[-1]}")
                self.assertEqual(tokens, value("SELECT (glm_try_summarize('hello', max_tokens => 2)).prompt_tokens", here))
                conn.close()


class Redact(Case):
    """What the model finds is replaced in the text itself."""

    CONTENT = "Ann met ann lee and Bob in Annapolis; Bob Lee's mail is bob@lee.org."

    def load(self, ids, tokens):
        path = directory_for_owner()
        self.addCleanup(shutil.rmtree, path)
        scripted.write(path, ids, tokens, self.gmask)
        for name in os.listdir(path):
            os.chmod(os.path.join(path, name), 0o644)
        self.conn.execute("SELECT glm_model_load('redact', %s)", [path])

    def script(self, answer, system, content, schema):
        """A model with this answer.  Where the schema forces text, that is written in tokens of its own: these are seen and kept."""
        messages = json.dumps([{"role": "system", "content": system}, {"role": "user", "content": content}])
        tokens = self.conn.execute("SELECT cardinality(glm_chat_tokens(%s::jsonb))", [messages]).fetchone()[0]
        ids = self.conn.execute("SELECT glm_tokenize(%s)", [answer]).fetchone()[0]
        for _ in range(len(ids)):
            self.load(ids, tokens)
            rows = self.conn.execute("SELECT token, token_id FROM glm_stream(%s, system => %s, model => 'redact', response_format => "
                                     "jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', %s::text))) ORDER BY seq",
                                     [content, system, schema]).fetchall()
            if "".join(text for text, _ in rows) == answer:
                return
            said = ids = None
            for n in range(len(rows), -1, -1):
                said = "".join(text for text, _ in rows[:n])
                if answer.startswith(said):
                    ids = [token for _, token in rows[:n]]
                    break
            newline = value("SELECT cardinality(glm_tokenize(E'\\n'))", self.conn)
            ids += self.conn.execute("SELECT (glm_tokenize(E'\\n' || %s))[%s:]", [answer[len(said):], newline + 1]).fetchone()[0]
        self.fail(f"no model answers {answer}")

    def redact(self, found, content=CONTENT, kinds=("name", "place", "email")):
        """What glm_redact gives where the model finds this."""
        self.conn = self.session()
        self.gmask = value("SELECT (glm_tokenize('', add_special => true))[1]", self.conn)
        self.addCleanup(self.conn.execute, "SELECT glm_model_unregister('redact')")
        system = f"Find what the text says of these kinds: {', '.join(kinds)}\n" \
                 "Answer with a JSON array of objects with kind and text, each text copied from the text letter by letter."
        schema = '{"type": "array", "items": {"type": "object", "properties": {"kind": {"enum": %s}, "text": {"type": "string", "minLength": 1}}, ' \
                 '"required": ["kind", "text"], "additionalProperties": false}}' % json.dumps(kinds)
        self.script(json.dumps(found, ensure_ascii=False), system, content, schema)
        return self.conn.execute("SELECT glm_redact(%s, %s::text[], model => 'redact')", [content, list(kinds)]).fetchone()[0]

    def find(self, kind, text):
        return {"kind": kind, "text": text}

    def test_nothing_found(self):
        self.assertEqual(self.redact([]), self.CONTENT.replace("bob@lee.org", "[EMAIL]"))

    def test_words_are_whole(self):
        self.assertEqual(self.redact([self.find("name", "Ann"), self.find("name", "Bob"), self.find("name", "Bob Lee")]),
                         "[NAME] met ann lee and [NAME] in Annapolis; [NAME]'s mail is [EMAIL].")

    def test_parts_of_words_and_other_case(self):
        self.assertEqual(self.redact([self.find("place", "Annapol"), self.find("name", "ANN LEE")]),
                         "Ann met [NAME] and Bob in [PLACE]is; Bob Lee's mail is [EMAIL].")

    def test_overlaps_leave_nothing(self):
        self.assertEqual(self.redact([self.find("name", "Ann met ann"), self.find("place", "ann lee and")]),
                         "[NAME][PLACE] Bob in Annapolis; Bob Lee's mail is [EMAIL].")

    def test_what_is_made_up_comes_not_in(self):
        self.assertEqual(self.redact([self.find("name", "Caesar"), self.find("place", " ")], kinds=("name", "place")), self.CONTENT)

    def test_other_characters(self):
        self.assertEqual(self.redact([self.find("name", "张伟"), self.find("name", "\"x\\y\"")], "张伟和李娜说\"x\\y\"", ("name",)),
                         "[NAME]和李娜说[NAME]")


class Aggregates(Case):
    """Aggregates that need many questions."""

    delay = HELD
    ROWS = "(SELECT i, i || ': ' || repeat('hello you ', 200) AS body FROM generate_series(1, 400) i) t"
    OPTIONS = """'{"max_tokens": 4}'"""

    def test_questions_run_side_by_side_and_end_with_a_cancel(self):
        for sql, count in ((f"SELECT glm_summarize_agg(body ORDER BY i) FROM {self.ROWS}", 32),
                           (f"SELECT glm_agg(body, 'Count.' ORDER BY i) FROM {self.ROWS}", 32),
                           (f"SET chatglm.prefetch = 5; SELECT glm_agg(body, 'Count.' ORDER BY i) FROM {self.ROWS}", 5),
                           (f"SELECT glm_reduce(body, 'Count.' ORDER BY i) FROM {self.ROWS}", 1)):
            with self.subTest(sql):
                running = self.background(sql)
                wait_until(lambda: health()["running"] + health()["waiting"] == count, f"{count} in flight")
                self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
                with self.assertRaises(psycopg.errors.QueryCanceled):
                    running.result()
                self.assert_idle()

    def test_the_same_beside_others(self):
        sql = f"SELECT md5(glm_summarize_agg(body, {self.OPTIONS} ORDER BY i)), md5(glm_reduce(body, 'Count.', {self.OPTIONS} ORDER BY i)) FROM {self.ROWS} WHERE i < 60"
        set_delay(0)
        alone = self.session().execute(sql).fetchall()
        others = [self.background(f"SELECT count(glm_generate(body, seed => i, temperature => 2, max_tokens => 30)) FROM {self.ROWS} WHERE i < 60") for _ in range(3)]
        beside = self.session().execute(sql).fetchall()
        self.assertEqual(alone, beside)
        for other in others:
            other.result()

    def test_levels(self):
        """What is asked, level by level: done by hand, it gives the same."""
        set_delay(0)
        conn = self.session()
        rows = "(SELECT i, i || ': ' || repeat('hello you ', 300) AS body FROM generate_series(1, 8) i) t"
        whole = value(f"""SELECT glm_summarize_agg(body, '{{"max_tokens": 450, "temperature": 100, "top_p": 1, "seed": 1}}' ORDER BY i) FROM {rows}""", conn)

        def tokens(text):
            return conn.execute("SELECT glm_count_tokens(%s)", [text]).fetchone()[0]

        def merged(texts, system):
            """The level above these texts."""
            limit = value("SELECT context FROM glm_models WHERE name = current_setting('chatglm.model')", conn) - 450 - 32 - tokens("-") - tokens(system)
            packs, room = [], 0
            for text in texts:
                needed = tokens(text) + 4
                if needed > room:
                    packs.append([])
                    room = limit
                packs[-1].append(text)
                room -= needed
            return [conn.execute("SELECT glm_generate(%s, system => %s, max_tokens => 450, temperature => 100, top_p => 1, seed => 1)",
                                 ["\n\n".join(pack), system]).fetchone()[0] for pack in packs]

        level = [body for (body,) in conn.execute(f"SELECT body FROM {rows} ORDER BY i").fetchall()]
        level = merged(level, "Summarize the texts, which blank lines divide. Answer with the summary alone.")
        sizes = [len(level)]
        while len(level) > 1:
            level = merged(level, "Make one summary of these summaries, which blank lines divide. Answer with the summary alone.")
            sizes.append(len(level))
        self.assertEqual(whole, level[0], sizes)
        self.assertEqual(sizes[0], 8)
        self.assertGreaterEqual(len(sizes), 2)

    def test_a_group_gives_its_file_back(self):
        """Temporary files go with the groups, not at the end of the statement."""
        set_delay(0)
        conn = self.session(autocommit=False)
        conn.execute("SET work_mem = '64kB'")
        conn.execute("SET enable_hashagg = off")
        conn.execute(f"DECLARE c CURSOR FOR SELECT g, glm_summarize_agg(repeat('x' || repeat(' ', 2000), 60), {self.OPTIONS}) FROM generate_series(1, 6) g GROUP BY g ORDER BY g")
        for _ in range(6):
            self.assertIsNotNone(conn.execute("FETCH c").fetchone())
            self.assertLessEqual(value("SELECT count(*) FROM pg_ls_tmpdir()"), 1)
        conn.rollback()
        self.assertEqual(value("SELECT count(*) FROM pg_ls_tmpdir()"), 0)


if __name__ == "__main__":
    unittest.main()
