"""calls.py - what the soak asks: statements whose answers never change, and requests that end before their time."""
import os
import random
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "model"))
import data  # noqa: E402

MODELS = ("tiny-chatglm3", "int4", "int8")
ROWS = 24           # of the table that statements read
CANCELED, TIMED_OUT = "57014", "57T01"

TABLES = """
CREATE TABLE ticket (id int PRIMARY KEY, body text NOT NULL);
GRANT SELECT ON ticket TO PUBLIC;
"""
TOOLS = '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'
SCHEMA = '{"type": "object", "properties": {"product": {"type": "string", "maxLength": 20}, ' \
         '"quantity": {"type": "integer", "minimum": 0, "maximum": 1000}}, "required": ["product", "quantity"]}'


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


class Maker:
    """Prompts of the embedded model's tasks, always the same of one seed."""

    def __init__(self, seed):
        self.maker = data.Maker(seed, heldout=True)

    def task(self, name, zh=False):
        """-> (system, user) of one row"""
        messages = getattr(self.maker, name)(zh)[0]
        return messages[0]["content"], messages[-1]["content"]


def fixed():
    """-> [(kind, statement)]; every statement gives rows of text that depend on nothing but itself."""
    maker, calls = Maker(7), []

    def add(kind, sql):
        calls.append((kind, sql))

    for i, model in enumerate(MODELS * 3):
        zh = i % 2 == 1
        system, body = map(quoted, maker.task("extract", zh))
        of = f"model => '{model}'"
        add("generate", f"SELECT glm_generate({body}, system => {system}, {of})")
        add("generate", f"SELECT glm_generate({body}, temperature => 0.8, seed => {i}, max_tokens => 30, {of})")
        add("stream", f"SELECT seq::text, token, logprob::text, finish_reason FROM glm_stream({body}, system => {system}, "
                      f"temperature => 1.5, seed => {i}, max_tokens => {8 * i + 2}, {of})")
        add("json", f"SELECT glm_json({body}, '{SCHEMA}', {of})::text")
        system, body = map(quoted, maker.task("route", zh))
        add("classify", "SELECT label, prob::text FROM glm_classify_scores(" +
            f"{body}, ARRAY['billing', 'shipping', 'returns', 'technical'], {of}) ORDER BY label")
        add("score", f"SELECT glm_score({system}, {body}, {of})::text")
        add("likelihood", f"SELECT token, logprob::text FROM glm_logprobs({body}, ' and thank you', {of})")
        add("embed", f"SELECT md5(glm_embed({body}, {of})::text)")
        body = quoted(maker.task("weather", zh)[1])
        add("chat", f"""SELECT (glm_chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', {body})),
            '{TOOLS}', {of}, max_tokens => 60) - 'usage')::text""")
        add("tokens", f"SELECT glm_count_tokens({body}, '{model}')::text, glm_tokenize({body}, '{model}')::text")
    for model in MODELS:
        add("batch", f"SELECT id::text, glm_generate(body, model => '{model}', max_tokens => 12) FROM ticket ORDER BY ticket.id")
        add("batch", f"SELECT id::text FROM ticket WHERE glm_filter('Is it about money?', body, 0.5, '{model}') ORDER BY ticket.id")
    add("batch", "SELECT glm_summarize_agg(body ORDER BY id) FROM ticket WHERE id <= 8")
    return calls


def table_rows():
    maker = Maker(8)
    return [(i + 1, maker.task("route", i % 3 == 0)[1]) for i in range(ROWS)]


# Takes all of the KV pool, so that all of it is resident.
FILL = "SELECT count(glm_generate('lamp', temperature => 100, top_p => 1, seed => i, max_tokens => 600)) FROM generate_series(1, 100) i"


# ---- Requests that end early, or say what nobody foresees ----------------------------

def endless(r, tokens=300):
    """At this temperature answers end by chance; other seeds fill the cache with other texts."""
    return f"glm_stream('lamp {r.randrange(50)}', temperature => 100, seed => {r.randrange(10 ** 9)}, max_tokens => {tokens})"


def left_by_limit(r):
    return [f"SELECT token FROM {endless(r)} LIMIT {r.randrange(1, 30)}"], ()


def left_by_cursor(r):
    return ["BEGIN", f"DECLARE c CURSOR FOR SELECT token FROM {endless(r)}", f"FETCH {r.randrange(1, 20)} FROM c", "ROLLBACK"], ()


def statement_timeout(r):
    return [f"SET statement_timeout = {r.randrange(5, 100)}", f"SELECT count(*) FROM {endless(r)}"], (CANCELED,)


def time_limit(r):
    return [f"SELECT glm_generate('lamp', temperature => 100, seed => {r.randrange(10 ** 9)}, max_tokens => 300, "
            f"options => '{{\"timeout_ms\": {r.randrange(5, 100)}}}')"], (TIMED_OUT,)


def unforeseen(r):
    return [f"SELECT count(*) FROM {endless(r, r.randrange(20, 120))}"], ()


def wrong_argument(r):
    return ["SELECT glm_generate('hello', temperature => -1)"], ("22023",)


EARLY = (left_by_limit, left_by_cursor, statement_timeout, time_limit, unforeseen, wrong_argument)
