"""test_schemas.py - answers by random schemas: whatever ends is a value of its schema, whatever is refused has none.

Each of the models that are there (the embedded one and the checkpoints of ../shared/golden) answers by glm_try_json, many
rows in flight, at a temperature that makes nonsense likely. Python's jsonschema judges. SCHEMAS=N asks for so many, LONG=1
for 5,000; SEED=N for others.
"""
import collections
import json
import os
import shutil
import sys

from harness import *

GOLDEN = os.environ.get("GLM_GOLDEN", os.path.join(os.path.dirname(ROOT), "shared", "golden"))
CHECKPOINTS = sorted(os.listdir(GOLDEN)) if os.path.isdir(GOLDEN) else []
SCHEMAS = int(os.environ.get("SCHEMAS", 5000 if os.environ.get("LONG") else 150))
SEED = int(os.environ.get("SEED", 14))
EMBEDDED = "tiny-chatglm3"
OPTIONS = ["{}", '{"property_order": "any"}', '{"json_space": "compact"}', '{"json_space": "any", "property_order": "any"}']
MOST_TOKENS = [60, 200, 200, 500]
NOTHING_FITS = ("no value was found that satisfies the schema", "the shortest answer needs ")
MOST_REFUSED = 0.25     # of random schemas, as far as they contradict themselves

ASK = """SELECT n, (r).value::text, (r).sqlstate, (r).error, (r).finish_reason
    FROM (SELECT n, glm_try_json(prompt, schema, model => %s, temperature => 1.5, seed => n, max_tokens => most,
                                 options => options) AS r FROM asked OFFSET 0) t ORDER BY n"""


class RandomSchemas(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for directory in "test/bench", "test/constrain":
            sys.path.insert(0, os.path.join(ROOT, directory))
            cls.addClassCleanup(sys.path.remove, sys.path[0])
        import masks_validate
        import schemas
        cls.judge = masks_validate
        cls.cases = schemas.cases(SCHEMAS, SEED)

    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.conn.execute("CREATE TEMP TABLE asked (n int, prompt text, schema json, most int, options jsonb)")
        with self.conn.cursor().copy("COPY asked FROM STDIN") as copy:
            for n, (prompt, schema) in enumerate(self.cases):
                copy.write_row((n, prompt, schema, MOST_TOKENS[n % 4], OPTIONS[n // 4 % 4]))
        self.conn.execute("ANALYZE asked")

    def load(self, name):
        """Copies a checkpoint to where the server can read it, registers it."""
        path = directory_for_owner()
        self.addCleanup(shutil.rmtree, path)
        for file in os.listdir(f"{GOLDEN}/{name}"):
            shutil.copyfile(f"{GOLDEN}/{name}/{file}", f"{path}/{file}")
        self.conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
        self.addCleanup(self.unload, name)

    def unload(self, name):
        with connect() as conn:
            conn.execute("SELECT glm_model_unload(%s)", [name])
            conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])

    def verdict(self, n, answer):
        """-> what became of a case: answered, refused, or a word on the fault."""
        value, state, message, reason = answer
        if state is not None:
            nothing_fits = state == "22023" and message.startswith(NOTHING_FITS)
            return "refused" if nothing_fits else f"{state}: {message}"
        if reason != "stop":
            return f"finish_reason {reason}"
        verdict, why = self.judge.judge(self.judge.validator(self.judge.exact(self.cases[n][1])), value)
        return "answered" if verdict == "valid" else f"{verdict}: {why}: {value}"

    def check(self, model):
        plan = "\n".join(row[0] for row in self.conn.execute("EXPLAIN " + ASK, [model]))
        self.assertIn("GlmBatch", plan)
        counts, faults = collections.Counter(), []
        for n, *answer in self.conn.execute(ASK, [model]):
            verdict = self.verdict(n, answer)
            counts[verdict if verdict in ("answered", "refused") else "fault"] += 1
            if verdict not in ("answered", "refused"):
                faults.append(f"case {n} of seed {SEED}: {verdict}\n    {self.cases[n][1]}")
                print(faults[-1], file=sys.stderr)
        print(f"{model}: {json.dumps(counts)}", file=sys.stderr)
        self.assertEqual(len(faults), 0)
        self.assertEqual(sum(counts.values()), SCHEMAS)
        self.assertLess(counts["refused"], SCHEMAS * MOST_REFUSED)

    def test_embedded_model(self):
        self.check(EMBEDDED)

    @unittest.skipUnless(CHECKPOINTS, f"no directory {GOLDEN}")
    def test_golden_checkpoints(self):
        for name in CHECKPOINTS:
            if os.path.isfile(f"{GOLDEN}/{name}/expected.json"):
                with self.subTest(name):
                    self.load(name)
                    self.check(name)


if __name__ == "__main__":
    unittest.main()
