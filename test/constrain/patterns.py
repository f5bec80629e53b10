"""Random patterns and texts, matched here and by Python's re.

    python3 test/constrain/patterns.py [PATTERNS [SEED]]

Each pattern is written twice: as ECMA-262 has it, for ours, and as Python has it, with every class spelt out where the
two differ.  build/test/pattern_match answers for ours.
"""
import pathlib
import random
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/test/pattern_match"

SPACES = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
CLASSES = {"\\d": "0-9", "\\w": "0-9A-Z_a-z", "\\s": SPACES}
NEGATED = {"\\D": "0-9", "\\W": "0-9A-Z_a-z", "\\S": SPACES}
LETTERS = "aabbc01_ -\n\r\té中ÿ\u2028\u3000\ud7ff\ue000\U0001f600\U0010ffff"
WORD = "[0-9A-Z_a-z]"
BOUNDARIES = {"\\b": f"(?:(?<!{WORD})(?={WORD})|(?<={WORD})(?!{WORD}))",
              "\\B": f"(?:(?<={WORD})(?={WORD})|(?<!{WORD})(?!{WORD}))"}
SPECIAL = ".*+?(){}[]|^$\\/"
ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "é": "\\xe9", "中": "\\u4E2d", "\U0001f600": "\\uD83D\\uDE00",
           "\U0010ffff": "\\u{10FFFF}"}


class Generator:
    """Pairs (ECMA, Python)."""

    def __init__(self, chance):
        self.chance = chance

    def character(self, in_class):
        c = self.chance.choice(LETTERS if self.chance.random() < 0.9 else SPECIAL)
        mine = c
        if c in ESCAPES and self.chance.random() < 0.5:
            mine = ESCAPES[c]
        elif c in SPECIAL or (in_class and c == "-"):
            mine = "\\" + c
        return mine, re.escape(c)

    def members(self):
        """What stands in a class."""
        mine, theirs = "", ""
        for _ in range(self.chance.randint(1, 3)):
            kind = self.chance.random()
            if kind < 0.25:
                name = self.chance.choice(list(CLASSES))
                mine, theirs = mine + name, theirs + CLASSES[name]
            elif kind < 0.5:
                low, high = sorted(self.chance.choices("acz059éÿ中\ud7ff\ue000\U0001f600", k=2))
                mine, theirs = mine + f"{low}-{high}", theirs + f"{low}-{high}"
            else:
                a, b = self.character(True)
                mine, theirs = mine + a, theirs + b
        return mine, theirs

    def atom(self, depth):
        kind = self.chance.random()
        if kind < 0.45 or depth == 0:
            return self.character(False)
        if kind < 0.52:
            return ".", "[^\n\r\u2028\u2029]"
        if kind < 0.60:
            name = self.chance.choice([*CLASSES, *NEGATED])
            return name, f"[{CLASSES[name]}]" if name in CLASSES else f"[^{NEGATED[name]}]"
        if kind < 0.72:
            mine, theirs = self.members()
            sign = self.chance.choice(["", "^"])
            return f"[{sign}{mine}]", f"[{sign}{theirs}]"
        mine, theirs = self.choice(depth - 1)
        opening = self.chance.choice(["(", "(?:", "(?<name>"])
        return f"{opening}{mine})", f"(?:{theirs})"

    def term(self, depth):
        kind = self.chance.random()
        if kind < 0.06:
            return "^", "\\A"
        if kind < 0.12:
            return "$", "\\Z"
        if kind < 0.16:
            mine = self.chance.choice(list(BOUNDARIES))
            return mine, BOUNDARIES[mine]
        if kind < 0.22 and depth > 0:
            mine, theirs = self.choice(depth - 1)
            look = self.chance.choice(["?=", "?!"])
            return f"({look}{mine})", f"({look}{theirs})"
        mine, theirs = self.atom(depth)
        if self.chance.random() < 0.35:
            times = self.chance.choice(["*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "{0}"])
            lazy = self.chance.choice(["", "", "?"])
            return mine + times + lazy, f"(?:{theirs}){times}{lazy}"
        return mine, theirs

    def sequence(self, depth):
        parts = [self.term(depth) for _ in range(self.chance.choice([0, 1, 1, 2, 2, 3, 4]))]
        return "".join(a for a, _ in parts), "".join(b for _, b in parts)

    def choice(self, depth):
        ways = [self.sequence(depth) for _ in range(self.chance.choice([1, 1, 1, 2, 3]))]
        return "|".join(a for a, _ in ways), "|".join(b for _, b in ways)

    def text(self):
        return "".join(self.chance.choices(LETTERS, k=self.chance.choice([0, 1, 2, 3, 4, 6, 9])))


class Matcher:
    """The program that answers for ours."""

    def __init__(self):
        self.program = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.stdin.close()
        self.program.stdout.close()
        self.program.wait()

    def ask(self, lines):
        """Answers to (letter, text) each."""
        self.program.stdin.write("".join(f"{letter}{text.encode().hex()}\n" for letter, text in lines))
        self.program.stdin.flush()
        return [self.program.stdout.readline().rstrip("\n") for _ in lines]


def compare(matcher, generator, texts=20):
    """Differences of one random pattern, as words; None where Python takes no such pattern."""
    mine, theirs = generator.choice(3)
    anchored = generator.chance.random() < 0.3
    try:
        python = re.compile(theirs)
    except re.error:
        return None
    tried = [generator.text() for _ in range(texts)]
    compiled, *answers = matcher.ask([("A" if anchored else "P", mine)] + [("T", text) for text in tried])
    if compiled != "ok":
        return [f"{mine!r}: {compiled}"]
    found = (python.fullmatch if anchored else python.search)
    return [f"{mine!r} {'whole' if anchored else 'within'} {text!r}: {answer}, Python {theirs!r}"
            for text, answer in zip(tried, answers) if (answer == "1") != bool(found(text))]


def differences(patterns, seed):
    """(patterns that were compared, what differed)"""
    generator = Generator(random.Random(seed))
    compared, different = 0, []
    with Matcher() as matcher:
        while compared < patterns:
            result = compare(matcher, generator)
            if result is not None:
                compared += 1
                different += result
    return compared, different


PIECES = ["a", "z", "0", "9", "-", "^", "$", "(", ")", "(?:", "(?=", "(?!", "[", "[^", "]", "{", "}", "{2}", "{2,3}", "{3,2}",
          "{12,21}", "{21,12}", "{1,", "*", "+", "?", "|", ".", "\\", "\\d", "\\x41", "\\ud800", "\\b", "\\-", "é", "a-z",
          "z-a", ",", "\\x00-\\x1f"]


def no_regexes(texts, seed):
    """(random texts that the format "regex" takes, those of them that Python does not)"""
    chance = random.Random(seed)
    tried = ["".join(chance.choices(PIECES, k=chance.choice([1, 2, 3, 4, 6]))) for _ in range(texts)]
    with Matcher() as matcher:
        answers = matcher.ask([("F", "regex")])[1:]
        for text in tried:
            answers += matcher.ask([("T", text)])
    taken, refused = [text for text, answer in zip(tried, answers) if answer == "1"], []
    for text in taken:
        try:
            re.compile(text)
        except re.error:
            refused.append(text)
    return taken, refused


def main():
    patterns = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    compared, different = differences(patterns, seed)
    print(*different[:20], sep="\n")
    print(f"seed {seed}: {compared} patterns compared, {len(different)} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
