"""test_tool_calls.py - what glm_chat makes of the answers of a scripted model: text, calls, several turns.

Each answer is given as text in which <|assistant|> and the like stand for the special tokens.  The model that gives it
is written for the length of the prompt (scripted.py).
"""
import json
import re
import shutil
import unittest

import scripted
from harness import *

SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
MESSAGES = json.dumps([{"role": "user", "content": "Go on."}])
TOOLS = json.dumps([{"name": name, "parameters": {}} for name in ("get_weather", "f", "3d_model", "查询天气", "mcp:search")])


def call(name, arguments):
    return f"{name}\n ```python\ntool_call({arguments})\n```"


class Scripted(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = directory_for_owner()
        cls.versions = 0

    @classmethod
    def tearDownClass(cls):
        with connect() as conn:
            conn.execute("SELECT glm_model_unload('scripted')")
            conn.execute("DELETE FROM chatglm.model WHERE name = 'scripted'")
        shutil.rmtree(cls.path)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.gmask = self.one("SELECT (glm_tokenize('', add_special => true))[1]")

    def one(self, sql, *arguments):
        return self.conn.execute(sql, arguments).fetchone()[0]

    def ids(self, answer):
        """The ids of an answer; a text between special tokens is encoded as the model would write it."""
        ids = []
        for piece in re.split("(" + "|".join(re.escape(name) for name in SPECIAL) + ")", answer):
            if piece in SPECIAL:
                ids.append(self.gmask - 1 + SPECIAL.index(piece))
            elif piece:
                ids += self.one("SELECT glm_tokenize(%s)", piece)
        return ids

    def script(self, answer, tools=TOOLS, messages=MESSAGES):
        """Makes the model `scripted` answer so."""
        tokens = self.one("SELECT cardinality(glm_chat_tokens(%s::jsonb, %s::json))", messages, tools)
        Scripted.versions += 1
        directory = f"{self.path}/{self.versions}"
        scripted.write(directory, self.ids(answer), tokens, self.gmask)
        self.conn.execute("SELECT glm_model_load('scripted', %s)", [directory])

    def chat(self, tools=TOOLS):
        return self.one("SELECT glm_chat(%s::jsonb, tools => %s::json, model => 'scripted')", MESSAGES, tools)

    def stream(self, tools=TOOLS):
        return self.conn.execute("SELECT token, token_id, finish_reason FROM glm_chat_stream(%s::jsonb, tools => %s::json, "
                                 "model => 'scripted') ORDER BY seq", [MESSAGES, tools]).fetchall()

    def check(self, answer, content, *calls):
        """The model answers so: then content and (name, arguments) are these, in the stream as well."""
        self.script(answer + "<|observation|>")
        with self.subTest(answer):
            message = self.chat()
            found = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", [])]
            self.assertEqual((message["content"], found), (content, list(calls)))
            self.assertEqual(message["finish_reason"], "tool_calls" if calls else "stop")
            self.assertEqual(len({c["id"] for c in message.get("tool_calls", [])}), len(calls))

            rows = self.stream()
            self.assertEqual(rows[-1][2], message["finish_reason"])
            assistant = self.gmask - 1 + SPECIAL.index("<|assistant|>")
            self.assertEqual([row[0] for row in rows if row[1] == assistant and row[0].strip() != row[0]], [])
            parsed = self.one("SELECT glm_parse_tool_calls(%s)", "".join(row[0] for row in rows))
            for parts in (parsed, message):
                for c in parts.get("tool_calls", []):
                    del c["id"]
            self.assertEqual(parsed, {key: message[key] for key in parsed})

    # ---- several turns in one answer ----

    def test_text_before_a_call(self):
        self.check("\n Let me check.<|assistant|>" + call("get_weather", 'city="Berlin"'), "Let me check.",
                   ("get_weather", '{"city": "Berlin"}'))
        self.check("\n First I read the file.<|assistant|>interpreter\n```python\nprint(1)\n```", "First I read the file.",
                   ("interpreter", '{"code": "print(1)"}'))

    def test_several_calls(self):
        self.check(call("get_weather", 'city="Berlin"') + "<|assistant|>" + call("get_weather", 'city="Paris"'), None,
                   ("get_weather", '{"city": "Berlin"}'), ("get_weather", '{"city": "Paris"}'))
        self.check("\n Both.<|assistant|>" + call("f", "") + "<|assistant|>" + call("get_weather", "a=1"), "Both.",
                   ("f", "{}"), ("get_weather", '{"a": 1}'))

    def test_several_contents(self):
        self.check("\n One.<|assistant|>\n Two.", "One.\nTwo.")
        self.check("<|assistant|>\n One.", "One.")
        self.check("\n One.<|assistant|>", "One.")

    def test_contents_without_tools(self):
        self.script("\n One.<|assistant|>\n Two.<|user|>", tools=None)
        self.assertEqual(self.chat(tools=None)["content"], "One.\nTwo.")
        self.assertEqual(self.one("SELECT glm_generate('Go on.', model => 'scripted')"), "One.\nTwo.")
        rows = self.stream(tools=None)
        self.assertEqual("".join(row[0] for row in rows), "One.\nTwo.")
        self.assertEqual(rows[-1][2], "stop")

    def test_content_that_looks_like_a_call(self):
        """The empty first line says that it is content, which the stream's text cannot show."""
        self.script("\n " + call("f", "a=1") + "<|user|>")
        message = self.chat()
        self.assertEqual((message["content"], message["finish_reason"]), ("f\n ```python\ntool_call(a=1)\n```", "stop"))
        self.assertNotIn("tool_calls", message)

    def test_what_the_product_writes_it_reads_back(self):
        """The history of an answer with text and calls, and the answer, are the same tokens."""
        answer = "\n Let me check.<|assistant|>" + call("get_weather", 'city="Berlin"')
        self.script(answer + "<|observation|>")
        message = self.chat()
        history = json.dumps([*json.loads(MESSAGES), {key: message[key] for key in ("role", "content", "tool_calls")}])
        ids = self.one("SELECT glm_chat_tokens(%s::jsonb, %s::json)", history, TOOLS)
        before = self.one("SELECT glm_chat_tokens(%s::jsonb, %s::json)", MESSAGES, TOOLS)
        self.assertEqual(self.one("SELECT glm_detokenize(%s)", ids[len(before):-1]),
                         self.one("SELECT glm_detokenize(%s)", self.ids(answer)))

    # ---- literals and names ----

    def test_numbers_of_any_size(self):
        self.check(call("f", "order_id=12345678901234567890"), None, ("f", '{"order_id": 12345678901234567890}'))
        self.check(call("f", "a=[-12345678901234567890, 0xFFFFFFFFFFFFFFFFFF]"), None,
                   ("f", '{"a": [-12345678901234567890, 4722366482869645213695]}'))

    def test_names(self):
        self.check(call("3d_model", "x=1"), None, ("3d_model", '{"x": 1}'))
        self.check(call("查询天气", '城市="北京"'), None, ("查询天气", '{"城市": "北京"}'))
        self.check(call("mcp:search", 'from="a"'), None, ("mcp:search", '{"from": "a"}'))

        long = "x" * 300
        self.check(call("f", long + "=1"), None, ("f", json.dumps({long: 1})))

    def test_literals(self):
        self.check(call("f", 'a="x" "y", b=r"\\d+",  # two\n c=1_000, d={1: "a"}, e=0x1f'), None,
                   ("f", '{"a": "xy", "b": "\\\\d+", "c": 1000, "d": {"1": "a"}, "e": 31}'))

    def test_no_calls(self):
        for answer in (call("f", "a=1") + "\nDone.", call("f", "a=1)\ntool_call(a=2"), call("f", "a=1+2"), "f\n```python\ntool_call(a=1)"):
            self.check(answer, answer)

    def test_a_call_that_was_cut(self):
        """With it, the answer was cut; a call that is whole is one."""
        first = call("f", "a=1")
        answer = first + "<|assistant|>" + call("get_weather", 'city="Berlin"')
        self.script(answer)
        for cut, finish in ((0, "tool_calls"), (1, "length"), (8, "length"), (len(self.ids(answer)) - len(self.ids(first)), "tool_calls")):
            message = self.one("SELECT glm_chat(%s::jsonb, tools => %s::json, model => 'scripted', max_tokens => %s)",
                               MESSAGES, TOOLS, len(self.ids(answer)) - cut)
            with self.subTest(cut):
                self.assertEqual(message["finish_reason"], finish)
                self.assertEqual(message["tool_calls"][0]["function"]["arguments"], '{"a": 1}')

    def test_ids_are_those_of_question_and_answer(self):
        self.script(call("f", "a=1") + "<|assistant|>" + call("f", "a=1") + "<|observation|>")
        ids = [c["id"] for c in self.chat()["tool_calls"]]
        self.assertEqual(ids, [c["id"] for c in self.chat()["tool_calls"]])
        self.assertNotEqual(ids[0], ids[1])


class Arguments(Case):
    def test_messages_without_their_tools(self):
        """tool_choice "none" takes tools out of any number of messages, in memory that is a few times theirs."""
        def high_water(conn):
            with open(f"/proc/{conn.info.backend_pid}/status") as status:
                return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])

        conn = self.session()
        sql = ("SELECT glm_chat((SELECT jsonb_agg('{\"role\":\"system\",\"content\":\"a\",\"tools\":[]}'::jsonb) "
               "FROM generate_series(1, %s)), tool_choice => '\"none\"', max_tokens => 1, options => %s)")
        with self.assertRaises(psycopg.errors.ProgramLimitExceeded):
            conn.execute(sql, [4000, "{}"])     # more tokens than the context has
        small = high_water(conn)
        with self.assertRaises(psycopg.errors.ProgramLimitExceeded):
            conn.execute(sql, [40000, "{}"])
        # 36,000 messages more take 1.8 MB as text
        self.assertLess(high_water(conn) - small, 60 * 1024)
        kept = conn.execute(sql, [20, "{}"]).fetchone()[0]
        self.assertEqual(kept["usage"]["prompt_tokens"],
                         value("SELECT cardinality(glm_chat_tokens((SELECT jsonb_agg('{\"role\":\"system\",\"content\":\"a\"}'::jsonb) "
                               "FROM generate_series(1, 20))))", conn))


if __name__ == "__main__":
    unittest.main()
