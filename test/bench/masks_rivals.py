#!/usr/bin/python3
"""LLGuidance and XGrammar on the cases that build/bench/masks is scored on, beside it.

    masks_rivals.py FILE.jsonl[.gz] [MODEL]

Runs build/bench/masks, then each of the two that can be imported (pip install llguidance xgrammar sentencepiece), with
the same vocabulary and the same tokens, on one thread. Prints a line of JSON for each, of the same form. A schema that
takes one of them more than 20 s is a compile error of it.
"""
import collections
import gzip
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build", "bench", "masks")
MADE = os.path.join(ROOT, "build", "bench", "vocabulary")
MADE_IDS = 65024
END_ID = 2
MOST_SECONDS = 20


class Vocabulary:
    """A tokenizer.model: the bytes of each id, and texts as ids."""

    def __init__(self, directory, ids):
        import sentencepiece
        self.model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(directory, "tokenizer.model"))
        self.bytes = [self.bytes_of(i) for i in range(self.model.vocab_size())]
        self.bytes += [b""] * (ids - len(self.bytes))
        self.byte_ids = {self.bytes[i]: i for i in range(self.model.vocab_size()) if self.model.is_byte(i)}

    def bytes_of(self, i):
        if self.model.is_byte(i):
            return bytes([int(self.model.id_to_piece(i)[3:5], 16)])
        if self.model.is_control(i) or self.model.is_unknown(i) or self.model.is_unused(i):
            return b""
        return self.model.id_to_piece(i).replace("\u2581", " ").encode()

    def named(self):
        """Bytes of ids that are all different: a name where another id has the same, or there are none."""
        seen = {}
        for i in reversed(range(len(self.bytes))):
            seen.setdefault(self.bytes[i], i)
        return [b if b and seen[b] == i else b"<|%d|>" % i for i, b in enumerate(self.bytes)]

    def encode(self, text):
        """As masks_tokens.c does it: behind a digit, so that no blank comes in front."""
        ids = self.model.encode("0" + text)
        want = text.encode(errors="replace")
        for first in (1, 2, 3):
            if b"".join(self.bytes[i] for i in ids[first:]) == want:
                return ids[first:]
        return [self.byte_ids[bytes([b])] for b in want]


# ---- The rivals ------------------------------------------------------------------------------------------------

class LLGuidance:
    package = "llguidance"

    def __init__(self, vocabulary):
        import llguidance.numpy
        self.fill = llguidance.numpy.fill_next_token_bitmask
        self.matcher = llguidance.LLMatcher
        names = vocabulary.named()

        class Wrapped:
            bos_token_id, eos_token_id, tokens = 1, END_ID, names
            special_token_ids = [i for i, name in enumerate(names) if name != vocabulary.bytes[i]]

            def __call__(self, text):
                return vocabulary.encode(text.decode(errors="replace") if isinstance(text, bytes) else text)

        self.tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Wrapped()))
        self.mask = llguidance.numpy.allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def compile(self, schema):
        compiled = self.matcher(self.tokenizer, json.dumps({"grammars": [{"json_schema": schema}]}))
        if compiled.is_error():
            raise ValueError(compiled.get_error())
        self.fill(compiled.deep_copy(), self.mask, 0)
        return compiled

    def start(self, compiled):
        return compiled.deep_copy()

    def step(self, matcher, token):
        self.fill(matcher, self.mask, 0)
        return bool(int(self.mask[0, token // 32]) >> token % 32 & 1) and matcher.consume_token(token)

    def ends(self, matcher):
        return matcher.is_accepting()


class XGrammar:
    package = "xgrammar"

    def __init__(self, vocabulary):
        import xgrammar
        self.xgrammar = xgrammar
        info = xgrammar.TokenizerInfo(vocabulary.named(), vocab_type=xgrammar.VocabType.RAW,
                                      vocab_size=len(vocabulary.bytes), stop_token_ids=[END_ID])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = xgrammar.allocate_token_bitmask(1, len(vocabulary.bytes))

    def compile(self, schema):
        compiled = self.compiler.compile_json_schema(json.dumps(schema), any_whitespace=False, strict_mode=True)
        self.start(compiled).fill_next_token_bitmask(self.mask)
        return compiled

    def start(self, compiled):
        return self.xgrammar.GrammarMatcher(compiled)

    def step(self, matcher, token):
        matcher.fill_next_token_bitmask(self.mask)
        return matcher.accept_token(token)

    def ends(self, matcher):
        return matcher.accept_token(END_ID)


# ---- Scoring ---------------------------------------------------------------------------------------------------

class Late(Exception):
    pass


def ring(*_):
    raise Late("more than %d s" % MOST_SECONDS)


def accepts(rival, compiled, tokens, times):
    matcher = rival.start(compiled)
    for token in tokens:
        begin = time.monotonic_ns()
        ok = rival.step(matcher, token)
        times.append((time.monotonic_ns() - begin) / 1000)
        if not ok:
            return False
    return rival.ends(matcher)


def score_case(rival, case, vocabulary, counts, mask_us, first_us):
    begin = time.monotonic_ns()
    compiled = rival.compile(case["schema"])
    first_us.append((time.monotonic_ns() - begin) / 1000)
    wrong = 0
    for test in case["tests"]:
        tokens = vocabulary.encode(json.dumps(test["data"], ensure_ascii=False))
        if accepts(rival, compiled, tokens, mask_us) != test["valid"]:
            counts["validation_errors" if test["valid"] else "invalidation_errors"] += 1
            wrong += 1
    counts["passing"] += wrong == 0


def quantile(ordered, share):
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0


def score(rival, cases, vocabulary):
    counts = collections.Counter(schemas=0, passing=0, compile_errors=0, validation_errors=0, invalidation_errors=0)
    mask_us, first_us = [], []
    signal.signal(signal.SIGALRM, ring)
    for case in cases:
        counts["schemas"] += 1
        signal.alarm(MOST_SECONDS)
        try:
            score_case(rival, case, vocabulary, counts, mask_us, first_us)
        except Exception:       # each has its own ways to say no
            counts["compile_errors"] += 1
        finally:
            signal.alarm(0)
    average = sum(mask_us) / max(1, len(mask_us))
    mask_us.sort()
    first_us.sort()
    return {**counts, "passing_share": round(counts["passing"] / max(1, counts["schemas"]), 4), "masks": len(mask_us),
            "mask_us": {"avg": round(average, 1), "p50": quantile(mask_us, 0.5), "p99": quantile(mask_us, 0.99),
                        "max": quantile(mask_us, 1)},
            "first_us": {"p50": quantile(first_us, 0.5), "p99": quantile(first_us, 0.99)}}


def main(path, model=None):
    ours = subprocess.run([PROGRAM, path] + ([model] if model else []), check=True, stdout=subprocess.PIPE, text=True)
    print(json.dumps({"who": "chatglm", **json.loads(ours.stdout)}), flush=True)
    vocabulary = Vocabulary(model or MADE, 0 if model else MADE_IDS)
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        cases = [json.loads(line) for line in file]
    for kind in (LLGuidance, XGrammar):
        if importlib.util.find_spec(kind.package) is None:
            print("%s is not installed" % kind.package, file=sys.stderr)
            continue
        version = importlib.metadata.version(kind.package)
        print(json.dumps({"who": "%s %s" % (kind.package, version), **score(kind(vocabulary), cases, vocabulary)}),
              flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
