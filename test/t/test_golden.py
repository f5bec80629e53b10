"""test_golden.py - the golden checkpoints through SQL: ids and greedy answers exact, logits within 1e-3.

They lie beside the checkout (or where GLM_GOLDEN says), as directories with an
expected.json; without them these tests are skipped.
"""
import json
import os
import shutil
import unittest

from harness import *

GOLDEN = os.environ.get("GLM_GOLDEN", os.path.join(os.path.dirname(ROOT), "shared", "golden"))


@unittest.skipUnless(os.path.isdir(GOLDEN), f"no directory {GOLDEN}")
class Golden(Case):
    def load(self, name):
        """Copies a checkpoint to where the server can read it, registers it; returns what is expected."""
        path = directory_for_owner()
        self.addCleanup(shutil.rmtree, path)
        for file in os.listdir(f"{GOLDEN}/{name}"):
            if file != "expected.json":
                shutil.copyfile(f"{GOLDEN}/{name}/{file}", f"{path}/{file}")
        self.conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
        with open(f"{GOLDEN}/{name}/expected.json") as file:
            return json.load(file)

    def one(self, sql, *arguments):
        return self.conn.execute(sql, arguments).fetchone()[0]

    def check(self, name):
        self.conn = self.session()
        expected = self.load(name)
        try:
            self.check_tokenizer(name, expected)
            self.check_chats(name, expected)
            self.check_logits(name, expected)
        finally:
            self.conn.execute("SELECT glm_model_unload(%s)", [name])
            self.conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])

    def check_tokenizer(self, name, expected):
        for case in expected["tokenize"]:
            with self.subTest(text=case["text"]):
                ids = self.one("SELECT glm_tokenize(%s, model => %s)", case["text"], name)
                self.assertEqual(ids, case["ids"])
                if ids:
                    text = self.one("SELECT glm_detokenize(%s, model => %s)", ids, name)
                    self.assertEqual(text, case["decoded"])

    def check_chats(self, name, expected):
        for case in expected["chat"]:
            messages = json.dumps(case["messages"])
            with self.subTest(messages=messages):
                self.assertEqual(self.one("SELECT glm_chat_tokens(%s::jsonb, model => %s)", messages, name),
                                 case["ids"])
                count = len(case["greedy_ids"])
                if count:
                    expected_ids = case["greedy_ids"]
                    ids = self.one("SELECT array_agg(token_id ORDER BY seq) FROM "
                                   "glm_chat_stream(%s::jsonb, model => %s, max_tokens => %s, temperature => 0)",
                                   messages, name, count)
                    if case["stopped"]:     # a stop id has a row, or has not
                        expected_ids = expected_ids[:-1]
                        ids = ids[:len(expected_ids)]
                    self.assertEqual(ids, expected_ids)

    def check_logits(self, name, expected):
        for case in expected["logits"]:
            logits = self.one("SELECT glm_logits(%s, model => %s)", case["ids"], name)
            # what is expected leaves out the ids that only pad the vocabulary
            self.assertGreaterEqual(len(logits), len(case["next_logits"]))
            worst = max(abs(a - b) for a, b in zip(logits, case["next_logits"]))
            self.assertLess(worst, 1e-3)

    def test_checkpoints(self):
        names = sorted(name for name in os.listdir(GOLDEN) if os.path.isfile(f"{GOLDEN}/{name}/expected.json"))
        self.assertTrue(names)
        for name in names:
            with self.subTest(name):
                self.check(name)


if __name__ == "__main__":
    unittest.main()
