"""test_packed.py - packed copies through every function, and packed directories that are broken or lie.

INT8 and INT4 copies are made by glm_quantize of the embedded model and of the golden checkpoints, where those are
beside the checkout (or where GLM_GOLDEN says).  The golden ones have random weights: their answers are not those of
the original, but all functions must agree about them.
"""
import hashlib
import json
import os
import shutil
import subprocess
import unittest

import psycopg

from harness import *

GOLDEN = os.environ.get("GLM_GOLDEN", os.path.join(os.path.dirname(ROOT), "shared", "golden"))
EMBEDDED = "tiny-chatglm3"
# Relative L2 error of logits against F16; measured were 0.015, 0.13, 0.041 and 0.33 at most.
BOUND = {(EMBEDDED, 8): 0.025, (EMBEDDED, 4): 0.2, ("golden", 8): 0.06, ("golden", 4): 0.5}
WIDTHS = (8, 4)
PROMPTS = ["Who are you?", "你好", "The lamp from Berlin is broken, I want my money back."]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS = [{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]


def readable(path):
    """Lets the server read what a test has written."""
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "postgres", path], check=True)
    return path


def sources():
    """Name of each model to copy: its path, or itself."""
    found = {EMBEDDED: EMBEDDED}
    if os.path.isdir(GOLDEN):
        found.update({name: f"{GOLDEN}/{name}" for name in sorted(os.listdir(GOLDEN))
                      if os.path.isfile(f"{GOLDEN}/{name}/expected.json")})
    return found


def embedded_chats():
    with open(f"{ROOT}/test/model/expected.json") as file:
        return [case["messages"] for case in json.load(file)["chat"]]


class Packed(Case):
    """What the tests share: a place, a session, models that are registered in it and forgotten."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = directory_for_owner()
        cls.addClassCleanup(shutil.rmtree, cls.place)
        cls.conn = connect()
        cls.addClassCleanup(cls.conn.close)

    @classmethod
    def register(cls, name, path):
        cls.one("SELECT glm_model_load(%s, %s)", name, path)
        cls.addClassCleanup(cls.forget, name)

    @classmethod
    def forget(cls, name):
        cls.conn.execute("SELECT glm_model_unload(%s)", [name])
        cls.conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])

    @classmethod
    def quantize(cls, source, bits):
        target = f"{cls.place}/{os.path.basename(source)}-{bits}"
        cls.conn.execute("SELECT FROM glm_quantize(%s, %s, %s)", [source, target, json.dumps({"bits": bits})])
        return target

    @classmethod
    def all(cls, sql, *arguments):
        return cls.conn.execute(sql, arguments).fetchall()

    @classmethod
    def one(cls, sql, *arguments):
        return cls.all(sql, *arguments)[0][0]


class Functions(Packed):
    """Every function, on every copy."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.copies = []         # (name, of the original, bits)
        for name, path in sources().items():
            if path != name:
                path = readable(shutil.copytree(path, f"{cls.place}/{name}", copy_function=shutil.copyfile))
                cls.register(name, path)
            for bits in WIDTHS:
                copy = f"{name}-{bits}"
                cls.register(copy, cls.quantize(path, bits))
                cls.copies.append((copy, name, bits))

    def stream(self, function, argument, model, tokens=20, tools=None):
        """Rows of a stream: text, ids, how it ended."""
        rows = self.all(f"SELECT * FROM {function}(%s, model => %s, max_tokens => %s"
                        + (", tools => %s)" if tools else ")"), argument, model, tokens, *[tools] if tools else [])
        self.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)))
        self.assertTrue(all(row[3] <= 0 for row in rows))
        self.assertEqual([row[4] for row in rows[:-1]], [None] * (len(rows) - 1))
        self.assertIn(rows[-1][4], ("stop", "length", "tool_calls"))
        return "".join(row[1] for row in rows), [row[2] for row in rows], rows[-1][4]

    def generate(self, prompt, model):
        return self.one("SELECT glm_generate(%s, model => %s, max_tokens => 20)", prompt, model)

    def test_golden_checkpoints_are_there(self):
        if len(sources()) == 1:
            self.skipTest(f"no golden checkpoints in {GOLDEN}: only the embedded model is copied")
        self.assertEqual(len(self.copies), 2 * len(sources()))

    def test_width(self):
        for copy, _, bits in self.copies:
            with self.subTest(copy):
                self.assertEqual(self.one("SELECT quantization FROM glm_models WHERE name = %s", copy), f"int{bits}")

    def test_tokens(self):
        """The tokenizer is the original's."""
        for copy, original, _ in self.copies:
            with self.subTest(copy):
                for sql in ("SELECT glm_tokenize(%s, model => %s, add_special => true)",
                            "SELECT glm_count_tokens(%s, model => %s)",
                            "SELECT glm_chat_tokens(jsonb_build_array(jsonb_build_object('role', 'user', 'content', %s::text)), "
                            "model => %s)"):
                    for prompt in PROMPTS:
                        self.assertEqual(self.one(sql, prompt, copy), self.one(sql, prompt, original))
                for prompt in PROMPTS:
                    ids = self.one("SELECT glm_tokenize(%s, model => %s)", prompt, copy)
                    self.assertEqual(self.one("SELECT glm_count_tokens(%s, model => %s)", prompt, copy), len(ids))
                    self.assertEqual(self.one("SELECT glm_detokenize(%s, model => %s)", ids, copy), prompt)

    def test_streams_and_single_answers(self):
        """The same answer by glm_generate, glm_stream, glm_chat, glm_chat_stream and glm_try_generate."""
        for copy, _, _ in self.copies:
            with self.subTest(copy):
                for prompt in PROMPTS:
                    answer = self.generate(prompt, copy)
                    chat = json.dumps([{"role": "user", "content": prompt}])
                    text, ids, reason = self.stream("glm_stream", prompt, copy)
                    self.assertEqual(text, answer)
                    self.assertEqual(self.stream("glm_chat_stream", chat, copy), (text, ids, reason))
                    message = self.one("SELECT glm_chat(%s::jsonb, model => %s, max_tokens => 20)", chat, copy)
                    self.assertEqual((message["content"], message["finish_reason"]), (answer, reason))
                    self.assertEqual(message["usage"]["completion_tokens"], len(ids))
                    tried = self.all("SELECT (r).response, (r).completion_tokens, (r).finish_reason, (r).error, (r).sqlstate "
                                     "FROM glm_try_generate(%s, model => %s, max_tokens => 20) r", prompt, copy)
                    self.assertEqual(tried, [(answer, len(ids), reason, None, None)])

    def test_many_answers(self):
        """The same side by side: an array of prompts, and rows in flight."""
        for copy, _, _ in self.copies:
            with self.subTest(copy):
                answers = [self.generate(prompt, copy) for prompt in PROMPTS]
                rows = self.all("SELECT idx, response, error FROM glm_generate_batch(%s, model => %s, max_tokens => 20)",
                                PROMPTS, copy)
                self.assertEqual(rows, [(i + 1, answer, None) for i, answer in enumerate(answers)])
                rows = self.all("SELECT glm_generate(p, model => %s, max_tokens => 20) FROM unnest(%s::text[]) p", copy, PROMPTS)
                self.assertEqual([row[0] for row in rows], answers)

    def test_logits_are_what_is_sampled_from(self):
        """The first token of a chat and of a raw text is the likeliest one."""
        def likeliest(ids):
            logits = self.one("SELECT glm_logits(%s, model => %s)", ids, copy)
            return logits.index(max(logits))

        for copy, _, _ in self.copies:
            with self.subTest(copy):
                for prompt in PROMPTS:
                    chat = json.dumps([{"role": "user", "content": prompt}])
                    ids = self.one("SELECT glm_chat_tokens(%s::jsonb, model => %s)", chat, copy)
                    self.assertEqual(self.stream("glm_stream", prompt, copy)[1][0], likeliest(ids))
                    ids = self.one("SELECT glm_tokenize(%s, model => %s, add_special => true)", prompt, copy)
                    text = self.one("SELECT glm_detokenize(%s, model => %s)", [likeliest(ids)], copy).strip()
                    if text.startswith("<|"):   # a role, which ends an answer
                        text = ""
                    self.assertEqual(self.one("SELECT glm_complete(%s, model => %s, max_tokens => 1)", prompt, copy).strip(),
                                     text)

    def test_logits_are_near_the_original(self):
        for copy, original, bits in self.copies:
            with self.subTest(copy):
                bound = BOUND[original if original == EMBEDDED else "golden", bits]
                for prompt in PROMPTS:
                    ids = self.one("SELECT glm_tokenize(%s, model => %s, add_special => true)", prompt, copy)
                    exact, got = [self.one("SELECT glm_logits(%s, model => %s)", ids, model) for model in (original, copy)]
                    self.assertEqual(len(got), len(exact))
                    error = (sum((a - b) ** 2 for a, b in zip(got, exact)) / sum(b * b for b in exact)) ** 0.5
                    self.assertGreater(error, 0)
                    self.assertLess(error, bound)

    def test_embedded_answers(self):
        """INT8 answers the embedded model's tasks word for word, INT4 nearly all."""
        def answer(chat, model):
            message = self.one("SELECT glm_chat(%s::jsonb, model => %s)", chat, model)
            return message["content"], message["finish_reason"], [call["function"] for call in message.get("tool_calls", [])]

        chats = [json.dumps(messages) for messages in embedded_chats()]
        exact = [answer(chat, EMBEDDED) for chat in chats]
        self.assertEqual([answer(chat, f"{EMBEDDED}-8") for chat in chats], exact)
        right = sum(answer(chat, f"{EMBEDDED}-4") == expected for chat, expected in zip(chats, exact))
        self.assertGreaterEqual(right, len(chats) - 1)

    def test_tools(self):
        """A tool call as a message and as a stream, which end alike."""
        system = [{"role": "system", "content": "Answer with the tools."}]
        chat, tools = json.dumps(system + WEATHER), json.dumps(TOOLS)
        for copy, original, _ in self.copies:
            with self.subTest(copy):
                message = self.one("SELECT glm_chat(%s::jsonb, %s::json, model => %s, max_tokens => 60)", chat, tools, copy)
                text, ids, reason = self.stream("glm_chat_stream", chat, copy, 60, tools)
                self.assertEqual(message["usage"]["completion_tokens"], len(ids))
                if original == EMBEDDED:
                    called = message["tool_calls"][0]["function"]
                    self.assertEqual((called["name"], json.loads(called["arguments"])), ("get_weather", {"city": "Paris"}))
                    self.assertEqual((message["finish_reason"], reason), ("tool_calls", "tool_calls"))
                    self.assertIn('tool_call(city="Paris")', text)
                else:
                    self.assertEqual((message["content"], message["finish_reason"]), (text, reason))


class Broken(Packed):
    """Copies of a packed directory, each with something wrong; other sessions ask the good one all the time."""

    OTHERS = "SELECT array_agg(DISTINCT glm_generate('Who are you?', model => 'good')) FROM generate_series(1, 20)"
    ASK = "SELECT glm_generate('Who are you?', model => 'broken')"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cls.quantize(EMBEDDED, 4)
        cls.register("good", cls.good)
        cls.answer = cls.one("SELECT glm_generate('Who are you?', model => 'good')")

    def setUp(self):
        super().setUp()
        self.pid = worker_pid()
        self.path = f"{self.place}/broken"
        self.other = self.session()
        self.addCleanup(self.assert_undisturbed)
        self.restore()

    def restore(self):
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.good, self.path)
        readable(self.path)
        self.weights = f"{self.path}/model.safetensors"
        self.addCleanup(shutil.rmtree, self.path, ignore_errors=True)

    def assert_undisturbed(self):
        """Same worker, same answers of a good model, nothing of the broken one in worker or catalog."""
        self.assertEqual(worker_pid(), self.pid)
        self.assertEqual(value("SELECT glm_generate('Who are you?', model => 'good')", self.other), self.answer)
        self.assertEqual(value("SELECT count(*) FROM glm_models WHERE name = 'broken'", self.other), 0)
        wait_let_go(self.pid, self.path)

    def refused(self, error, pattern, verify="full"):
        others = self.background(self.OTHERS)
        with self.assertRaisesRegex(error, pattern):
            self.one("SELECT glm_model_load('broken', %s, %s)", self.path, json.dumps({"verify": verify}))
        self.assertEqual(others.result(), [([self.answer],)])
        others.conn.close()
        self.assert_undisturbed()

    # ---- bytes

    def flip(self, path, offset):
        """Turns over one bit of a file; returns the hashes found and expected."""
        with open(path, "r+b") as file:
            before = file.read()
            after = bytearray(before)
            after[offset] ^= 1 << offset % 8
            file.seek(0)
            file.write(after)
        return hashlib.sha256(after).hexdigest(), hashlib.sha256(before).hexdigest()

    def header(self):
        with open(self.weights, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return json.loads(file.read(size)), 8 + size

    def test_flipped_bits_of_weights(self):
        """First and last byte of tensors from all over the file: their chunk is named, with both hashes."""
        tensors, data = self.header()
        places = sorted(place for name, tensor in tensors.items() if name != "__metadata__"
                        for place in (tensor["data_offsets"][0], tensor["data_offsets"][1] - 1))
        for place in places[::len(places) // 12] + places[-1:]:
            with self.subTest(byte=place):
                found, expected = self.flip(self.weights, data + place)
                self.refused(psycopg.errors.DataCorrupted,
                             f"chunk 0 of file \"{self.weights}\" has SHA-256 {found}, not {expected}")
                self.restore()

    def test_flipped_bits_of_the_header(self):
        """Whatever they make of it, it is refused and the file named."""
        _, data = self.header()
        for place in (0, 9, data // 3, data // 2, data - 1):
            with self.subTest(byte=place):
                self.flip(self.weights, place)
                self.refused(psycopg.Error, "model.safetensors")
                self.restore()

    def test_flipped_bits_of_small_files(self):
        for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
            with self.subTest(name):
                path = f"{self.path}/{name}"
                with open(path, "rb") as file:
                    unread = file.read().find(b"torch_dtype")  # a key that nobody reads
                found, expected = self.flip(path, unread if unread >= 0 else os.path.getsize(path) // 2)
                self.refused(psycopg.errors.DataCorrupted, f"chunk 0 of file \"{path}\" has SHA-256 {found}, not {expected}")
                self.restore()

    def test_found_by_the_first_use(self):
        """With first-map loading succeeds, and every use fails until the file is whole again."""
        tensors, data = self.header()
        place = data + tensors["transformer.output_layer.weight"]["data_offsets"][0]
        found, expected = self.flip(self.weights, place)
        self.one("SELECT glm_model_load('broken', %s, '{\"verify\": \"first-map\"}')", self.path)
        try:
            for _ in range(2):
                with self.assertRaisesRegex(psycopg.errors.DataCorrupted, f"SHA-256 {found}, not {expected}"):
                    self.one(self.ASK)
            tried = self.all("SELECT (r).response, (r).sqlstate FROM glm_try_generate('hi', model => 'broken') r")
            self.assertEqual(tried, [(None, "XX001")])
            self.one("SELECT glm_model_unload('broken')")
            self.restore()
            self.assertEqual(self.one(self.ASK), self.answer)
        finally:
            self.forget("broken")

    # ---- words

    def change_manifest(self, change):
        path = f"{self.path}/chatglm.json"
        with open(path) as file:
            manifest = json.load(file)
        change(manifest)
        with open(path, "w") as file:
            json.dump(manifest, file)

    def change_header(self, old, new):
        """Another header of the same length, and a manifest that vouches for it."""
        def rehash(manifest):
            listed = next(file for file in manifest["files"] if file["name"] == "model.safetensors")
            listed["chunks"] = [hashlib.sha256(content).hexdigest()]

        self.assertEqual(len(old), len(new))
        with open(self.weights, "rb") as file:
            content = file.read()
        self.assertEqual(content.count(old), 1)
        content = content.replace(old, new)
        with open(self.weights, "wb") as file:
            file.write(content)
        self.change_manifest(rehash)

    def test_newer_version(self):
        for verify in ("full", "first-map", "off"):
            self.change_manifest(lambda manifest: manifest.update(version=2))
            self.refused(psycopg.errors.FeatureNotSupported, "version 2 of the packed format; only version 1", verify)
            self.restore()
            self.change_header(b'"version":"1"', b'"version":"2"')
            self.refused(psycopg.errors.FeatureNotSupported, 'version "2" of the packed format', verify)
            self.restore()

    def test_sizes_that_are_lies(self):
        def listed(manifest, name):
            return next(file for file in manifest["files"] if file["name"] == name)

        def larger(manifest):
            listed(manifest, name)["size"] += 1

        def huge(manifest):
            listed(manifest, name)["size"] = 1 << 60

        def more_chunks(manifest):
            listed(manifest, name)["chunks"] *= 2

        def no_chunks(manifest):
            listed(manifest, name)["chunks"] = []

        def unlisted(manifest):
            manifest["files"].remove(listed(manifest, name))

        for name in ("model.safetensors", "config.json", "tokenizer.model"):
            for lie in (larger, huge, more_chunks, no_chunks, unlisted):
                with self.subTest(file=name, lie=lie.__name__):
                    self.change_manifest(lie)
                    self.refused(psycopg.errors.DataCorrupted, name)
                    self.restore()

    def test_shapes_that_are_lies(self):
        """Hashes are right, so only sizes can tell."""
        for old, new in ((b'"int4 64 1024 192"', b'"int4 64 1008 192"'), (b'"int4 64 1024 192"', b'"int4 32 1024 192"'),
                         (b'"int4 64 1024 192"', b'"int8 64 1024 192"')):
            with self.subTest(new=new):
                with open(self.weights, "rb") as file:
                    before = file.read().split(old)[0]
                tail = before[before.rindex(b'"packed.'):]
                self.change_header(tail + old, tail + new)
                self.refused(psycopg.errors.DataCorrupted, "model.safetensors")
                self.restore()


if __name__ == "__main__":
    unittest.main()
