"""test_constrain.py - constrained output as build/bench/masks sees it: cases of our own, JSON-Schema-Test-Suite, real schemas.

The latter two lie beside the checkout (../shared/schemas); without them these tests are skipped. Answers at random are
checked by Python's jsonschema; WALKS=21 makes 20,000 of them.
"""
import glob
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

from harness import ROOT

PROGRAM = os.path.join(ROOT, "build", "bench", "masks")
TINY = os.path.join(ROOT, "models", "tiny-chatglm3")
CASES = os.path.join(ROOT, "test", "constrain", "cases.jsonl")
DIFFERENCES = os.path.join(ROOT, "test", "constrain", "differences.txt")
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "schemas")
REAL = os.path.join(SHARED, "real-world.jsonl.gz")
SUITE = os.path.join(SHARED, "suite", "tests")
DRAFTS = {"draft7": "http://json-schema.org/draft-07/schema#",
          "draft2020-12": "https://json-schema.org/draft/2020-12/schema"}
NO_SCHEMAS = [{"minLength": -1}, {"type": "foo"}, {"type": []}, {"required": []}, {"required": ["a", "a"]}, {"enum": 3},
              {"properties": []}, {"not": 3}, {"items": []}, {"exclusiveMinimum": True}, {"maximum": 3, "exclusiveMaximum": True},
              {"multipleOf": 0}, {"additionalItems": True}, {"allOf": []}, {"pattern": "("}, {"dependencies": {"a": ["b"]}},
              {"dependencies": {"a": 3}}, {"$ref": "#/a", "items": 3}, True, [], None, {"if": {}, "then": 3}, {"const": 3, "if": 4},
              {"type": ["string", "string"]}, {"maxLength": 1.5}, {"title": 3}, {"$comment": 3}, {"definitions": {"a": 3}},
              {"patternProperties": {"(": {}}}, {"propertyNames": 3}]
WALKS = int(os.environ.get("WALKS", 2))


def setUpModule():
    subprocess.run(["make", "--no-print-directory", PROGRAM.replace(ROOT + "/", "")], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)


def masks(path, *options):
    """-> what the program prints on stdout and on stderr, and its exit status."""
    done = subprocess.run([PROGRAM, path, TINY, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in (0, 1):
        raise AssertionError("masks ended with %d: %s" % (done.returncode, done.stderr[-2000:]))
    return done.stdout.decode(), done.stderr.decode(errors="replace"), done.returncode


def score(path, *options):
    """-> its counts, and the lines on what fails."""
    out, lines, status = masks(path, "verbose", *options)
    if not out:
        raise AssertionError("masks printed nothing: %s" % lines)
    return {**json.loads(out), "status": status}, lines


def numbered(cases, test):
    """A file of these cases, each with its number for a name; removed when the test ends."""
    file = tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8")
    test.addCleanup(file.close)
    for number, case in enumerate(cases):
        file.write(json.dumps({**case, "name": str(number)}) + "\n")
    file.flush()
    return file.name


def failures(lines):
    """-> (what, number of the case, number of the instance or None, message) for each line on what fails."""
    found = re.findall(r"^(REFUSED|LIMIT|VALID-REFUSED|INVALID-ACCEPTED) (\d+): (?:instance (\d+))?(.*)$", lines, re.M)
    return [(what, int(case), int(instance) if instance else None, message) for what, case, instance, message in found]


def own_cases():
    with open(CASES, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# ---- Cases of our own --------------------------------------------------------------------------------------------

class Cases(unittest.TestCase):
    def check(self, *options, invalid_only=False):
        cases = own_cases()
        counts, lines = score(numbered(cases, self), "check=7", *options)
        refused = {}
        wrong = []
        for what, case, instance, message in failures(lines):
            if what == "REFUSED":
                refused[case] = message
            elif not (invalid_only and what == "VALID-REFUSED"):
                wrong.append("%s %s: %s" % (what, cases[case]["name"],
                                            json.dumps(cases[case]["tests"][instance]["data"]) if instance is not None
                                            else message))
        self.assertEqual(wrong, [])
        self.assertEqual(counts["schemas"], len(cases))
        self.assertEqual(counts["masks_that_differ"], 0, lines)
        for number, case in enumerate(cases):
            if "error" in case:
                self.assertIn(case["error"], refused.get(number, "taken"), case["name"])
            else:
                self.assertNotIn(number, refused, case["name"])

    def test_any_order(self):
        """All keywords: valid instances pass, invalid ones do not, what is not supported is refused by name."""
        self.check()

    def test_strict_order(self):
        """No invalid instance passes; valid ones in another order need not."""
        self.check("order=strict", invalid_only=True)

    def test_other_space(self):
        """Other white space is checked against stepping byte by byte, too."""
        self.check("space=any")
        self.check("space=compact", invalid_only=True)

    def test_meta_schemas(self):
        """What a $ref to a meta-schema takes for a schema is what Python's jsonschema does."""
        schemas = [case["schema"] for case in own_cases() if not re.search(r"pattern|u0000", json.dumps(case))] + NO_SCHEMAS
        cases = []
        for draft, kind in (4, jsonschema.Draft4Validator), (6, jsonschema.Draft6Validator), (7, jsonschema.Draft7Validator):
            judge = kind(kind.META_SCHEMA, format_checker=jsonschema.FormatChecker(["regex"]))
            cases.append({"schema": {"$ref": "http%s://json-schema.org/draft-0%d/schema#" % ("s" * (draft == 6), draft)},
                          "tests": [{"data": schema, "valid": judge.is_valid(schema)} for schema in schemas]})
        counts, lines = score(numbered(cases, self))
        self.assertEqual((counts["passing"], failures(lines)), (3, []))

    def test_instances(self):
        """Instances are fed as Python writes them."""
        values = ["1e400", "-1e400", "-0", "-0.0", "1.0", "1e15", "1e16", "1e-4", "1e-5", "5e-324", "0.1", "1e22", "1E2",
                  "123456789012345678901234567890", "9007199254740993.0", "-12.50", "1.7976931348623157e308",
                  '"\\u00e9\\ud83d\\ude00\\/\\u0001\\u007f\\u0000\\b\\f\\n\\r\\t\\"\\\\ \u00e9"', '{ "a" :[ ], "b":{ } }']
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
            file.writelines('{"tests":[{"data" : %s, "valid":true}], "schema":{},"name":"x"}\n' % v for v in values)
            file.flush()
            out, _, _ = masks(file.name, "print")
        self.assertEqual(out.split("\n")[:-1], [json.dumps(json.loads(v), ensure_ascii=False) for v in values])


# ---- JSON-Schema-Test-Suite ----------------------------------------------------------------------------------------

@unittest.skipUnless(os.path.isdir(SUITE), f"no directory {SUITE}")
class Suite(unittest.TestCase):
    def groups(self, draft):
        """The schemas of a draft, each with the file and title of its group."""
        for path in sorted(glob.glob(os.path.join(SUITE, draft, "*.json"))):
            with open(path, encoding="utf-8") as file:
                for group in json.load(file):
                    schema = group["schema"]
                    if isinstance(schema, dict):
                        schema = {"$schema": DRAFTS[draft], **schema}
                    title = "%s/%s: %s" % (draft, os.path.basename(path)[:-5], group["description"])
                    yield {"schema": schema, "tests": group["tests"], "title": title}

    def differences(self, draft):
        groups = list(self.groups(draft))
        counts, lines = score(numbered(groups, self), "check=50")
        self.assertEqual(counts["masks_that_differ"], 0, lines)
        for what, number, instance, _ in failures(lines):
            group = groups[number]
            yield " ".join([what, group["title"]] + (["/ " + group["tests"][instance]["description"]]
                                                     if instance is not None else []))

    def test_drafts(self):
        """What passes is all but what differences.txt lists: references elsewhere, unevaluated*, 1.0 for an integer ..."""
        with open(DIFFERENCES, encoding="utf-8") as file:
            known = {line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")}
        found = {line for draft in DRAFTS for line in self.differences(draft)}
        self.assertEqual((sorted(found - known), sorted(known - found)), ([], []))


# ---- Schemas of the real world -----------------------------------------------------------------------------------

@unittest.skipUnless(os.path.exists(REAL), f"no file {REAL}")
class RealWorld(unittest.TestCase):
    def test_any_order(self):
        """99.5 % pass, no instance is judged wrongly, masks are those of stepping every token."""
        counts, lines = score(REAL, "check=400")
        self.assertEqual((counts["validation_errors"], counts["invalidation_errors"]), (0, 0), lines)
        self.assertEqual(counts["masks_that_differ"], 0, lines)
        self.assertGreaterEqual(counts["passing_share"], 0.995, lines)

    def test_strict_order(self):
        """No invalid instance passes in strict order either."""
        counts, lines = score(REAL, "order=strict", "check=400")
        self.assertEqual(counts["invalidation_errors"], 0, lines)
        self.assertEqual(counts["masks_that_differ"], 0, lines)


# ---- Instances at random -------------------------------------------------------------------------------------------

class Instances(unittest.TestCase):
    def test_random(self):
        """Random schemas take the instances that Python's jsonschema takes, and no others. INSTANCES=N schemas, SEED=N."""
        sys.path.insert(0, os.path.join(ROOT, "test", "constrain"))
        self.addCleanup(sys.path.remove, sys.path[0])
        import instances
        cases = [json.loads(line) for line in instances.cases(int(os.environ.get("INSTANCES", 60)), int(os.environ.get("SEED", 14)))]
        counts, lines = score(numbered(cases, self), "check=50")
        wrong = ["%s %s: %s" % (what, json.dumps(cases[case]["schema"]), json.dumps(cases[case]["tests"][instance]["data"]))
                 for what, case, instance, _ in failures(lines) if instance is not None]
        self.assertEqual(wrong, [])
        self.assertEqual(counts["masks_that_differ"], 0, lines)
        self.assertEqual(counts["compile_errors"], 0, lines)
        verdicts = [test["valid"] for case in cases for test in case["tests"]]
        self.assertGreater(min(sum(verdicts), len(verdicts) - sum(verdicts)), len(verdicts) // 5)


# ---- Answers at random ---------------------------------------------------------------------------------------------

class Walks(unittest.TestCase):
    def check(self, path, *options):
        sys.path.insert(0, os.path.join(ROOT, "test", "bench"))
        self.addCleanup(sys.path.remove, sys.path[0])
        import masks_validate
        out, counts, status = masks(path, "walks=%d" % WALKS, *options)
        self.assertEqual(status, 0, counts)
        why = io.StringIO()
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as cases:
            found = masks_validate.validate(cases, out.splitlines(), why)
        self.assertEqual(found["invalid"], 0, why.getvalue())
        self.assertGreater(found["valid"], 0)

    def test_own(self):
        for options in (), ("order=strict",), ("space=any", "seed=2"), ("order=strict", "space=compact", "seed=3"):
            with self.subTest(options=options):
                self.check(CASES, *options)

    @unittest.skipUnless(os.path.exists(REAL), f"no file {REAL}")
    def test_real(self):
        self.check(REAL, "order=strict")
        self.check(REAL, "seed=4")


# ---- Limits --------------------------------------------------------------------------------------------------------

def doubled(make, levels=24):
    """A schema whose definitions each use the one before twice."""
    definitions = {"d0": {"type": "string"}}
    for i in range(1, levels + 1):
        definitions["d%d" % i] = make({"$ref": "#/definitions/d%d" % (i - 1)})
    return {"definitions": definitions, "$ref": "#/definitions/d%d" % levels}


def nested(depth):
    schema = {"type": "integer"}
    for _ in range(depth):
        schema = {"allOf": [schema]}
    return schema


def pattern(text):
    return {"type": "string", "pattern": text}


ANSWER, NO_VALUE, REFUSED = "ANSWER", "NO VALUE", "REFUSED"
LIMITS = {      # a schema, and what may come of it
    "maxLength of 10^9": ({"type": "string", "maxLength": 10**9}, [ANSWER]),
    "minLength of 10^9": ({"type": "string", "minLength": 10**9}, [NO_VALUE]),
    "minItems of 10^6": ({"type": "array", "minItems": 10**6}, [NO_VALUE]),
    "((a*)*)*b": (pattern("^((a*)*)*b$"), [ANSWER]),
    "(a{1000}){1000}": (pattern("^((a{1000}){1000})$"), [REFUSED]),
    "[^x]{1,30000}": (pattern("^[^x]{1,30000}$"), [ANSWER]),
    "[^x]{1,100000}": (pattern("^[^x]{1,100000}$"), [REFUSED]),
    "(a|b)*a(a|b){18}": (pattern("(a|b)*a(a|b){18}$"), [ANSWER]),
    "5,000 parentheses": (pattern("(" * 5000 + "a" + ")" * 5000), [REFUSED]),
    "60,000 alternatives": (pattern("^(" + "|".join("w%d" % i for i in range(60000)) + ")$"), [REFUSED]),
    "an enum of 200,000": ({"enum": ["v%d" % i for i in range(200000)]}, [REFUSED]),
    "an enum of 20,000": ({"enum": ["value number %d" % i for i in range(20000)]}, [ANSWER]),
    "a depth of 60 combinators": (nested(60), [ANSWER]),
    "a depth of 400 combinators": (nested(400), [REFUSED]),
    "a reference to itself": ({"$ref": "#"}, [REFUSED]),
    "a circle of references": ({"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}},
                                "$ref": "#/definitions/a"}, [REFUSED]),
    "2^24 references": (doubled(lambda d: {"allOf": [d, d]}), [ANSWER]),
    "2^24 required objects": (doubled(lambda d: {"type": "object", "properties": {"a": d, "b": d},
                                                 "required": ["a", "b"], "additionalProperties": False}), [NO_VALUE]),
    "required without end": ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, [NO_VALUE]),
    "a oneOf of 500": ({"oneOf": [{"type": "object", "properties": {"k": {"const": "v%d" % i}, "x": {"type": "string"}},
                                   "required": ["k"]} for i in range(500)]}, [ANSWER]),
    "an anyOf of 500 patterns": ({"anyOf": [pattern("^[a-z]{%d}x[0-9]*y%d$" % (i % 50 + 1, i)) for i in range(500)]},
                                 [ANSWER]),
    "2,000 required properties": ({"type": "object", "properties": {"p%d" % i: {"type": "string"} for i in range(2000)},
                                   "required": ["p%d" % i for i in range(2000)], "additionalProperties": False},
                                  [ANSWER]),
    "2,000 properties, one of two": ({"anyOf": [{"required": ["p1"]}, {"required": ["p2"]}], "type": "object",
                                      "properties": {"p%d" % i: {"type": "string"} for i in range(2000)}}, [ANSWER]),
    "300 patternProperties": ({"type": "object", "patternProperties": {"^x%d.*[0-9]+$" % i: {"type": "integer"}
                                                                       for i in range(300)},
                               "additionalProperties": False}, [ANSWER]),
    "string and integer": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, [NO_VALUE]),
    "a schema of 2 MB": ({"description": "x" * (2 << 20)}, [REFUSED]),
    "60,000 subschemas": ({"anyOf": [{"type": "string"}] * 60000}, [REFUSED]),
}


class Limits(unittest.TestCase):
    def outcome(self, schema):
        out, lines, status = masks(numbered([{"schema": schema, "tests": []}], self), "walks=1", "verbose")
        self.assertEqual(status, 0, lines)
        said = re.search(r"^(?:NO VALUE|REFUSED) 0: (.*)$", lines, re.M)
        if not said:
            return ANSWER, out[:60]
        return NO_VALUE if re.search("no value|shortest answer", said.group(1)) else REFUSED, said.group(1)

    def test_table(self):
        """Each comes to what the table says; the time it took is told, and is no part of the test."""
        for name, (schema, wanted) in LIMITS.items():
            with self.subTest(name):
                begin = time.monotonic()
                found, message = self.outcome(schema)
                print("%s: %s in %.2f s: %s" % (name, found, time.monotonic() - begin, message), file=sys.stderr)
                self.assertIn(found, wanted, message)


if __name__ == "__main__":
    unittest.main()
