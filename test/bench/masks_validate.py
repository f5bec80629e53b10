#!/usr/bin/python3
"""Are answers drawn at random valid? Asks Python's jsonschema, formats included.

    build/bench/masks FILE walks=20 >WALKS; masks_validate.py FILE WALKS

FILE has cases as masks_case.c reads them, WALKS a line `name TAB JSON` for each answer. Prints one line of JSON, and on
stderr what is not valid; the exit status is 1 then, or when WALKS has no answers. A schema that jsonschema itself cannot
use (it is malformed, it refers to nothing) counts as `unusable`.
"""
import collections
import datetime
import decimal
import fractions
import gzip
import json
import re
import sys

import jsonschema

sys.setrecursionlimit(20000)    # answers may be 256 deep, and jsonschema takes several calls for each


def lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8", newline="\n") as file:
        yield from file


# ---- What jsonschema does not do, or by doubles ----------------------------------------------------------------------

def exact(text, **how):
    """The value of a JSON text; numbers that are no integers are decimals."""
    return json.loads(text, parse_float=decimal.Decimal, **how)


def multiple_of(checker, divisor, instance, schema):
    """By decimals: as a double, 19.99 is no multiple of 0.01."""
    if checker.is_type(instance, "number") and fractions.Fraction(instance) % fractions.Fraction(divisor):
        yield jsonschema.ValidationError("%r is not a multiple of %r" % (instance, divisor))


SPACES = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
WORD = "0-9A-Z_a-z"
CLASSES = {"\\d": "0-9", "\\w": WORD, "\\s": SPACES}
BOUNDARIES = {"\\b": f"(?:(?<![{WORD}])(?=[{WORD}])|(?<=[{WORD}])(?![{WORD}]))",
              "\\B": f"(?:(?<=[{WORD}])(?=[{WORD}])|(?<![{WORD}])(?![{WORD}]))"}


def ecma(pattern):
    """A pattern whose \\d, \\w, \\s and \\b are those of ECMA-262, not of Python, which has 1c to 1f and 85 for spaces, too."""
    out, in_class = "", False
    for part in re.findall(r"\\.|.", pattern, re.S):
        if part in CLASSES:
            part = CLASSES[part] if in_class else "[%s]" % CLASSES[part]
        elif part.lower() in CLASSES and not in_class:
            part = "[^%s]" % CLASSES[part.lower()]
        elif not in_class:
            part = BOUNDARIES.get(part, part)
        in_class = (in_class or part == "[") and part != "]"
        out += part
    return out


def pattern(checker, pattern, instance, schema):
    if checker.is_type(instance, "string") and not re.search(ecma(pattern), instance):
        yield jsonschema.ValidationError("%r does not match %r" % (instance, pattern))


def is_integer(_, instance):
    return not isinstance(instance, bool) and (
        isinstance(instance, int) or isinstance(instance, decimal.Decimal) and instance == instance.to_integral_value())


def is_date_time(text):
    """RFC 3339, for a jsonschema beside which no package for it is installed. A leap second is one more than 59."""
    found = isinstance(text, str) and re.fullmatch(
        r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", text, re.ASCII)
    if found:
        datetime.datetime.fromisoformat(found[1] + "T" + found[2] + found[3].replace("60", "59"))
    return not isinstance(text, str) or bool(found)


def validator(schema):
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.VALIDATORS["multipleOf"] = multiple_of     # extend() forgets how old drafts treat $ref
    kind.VALIDATORS["pattern"] = pattern
    kind.TYPE_CHECKER = kind.TYPE_CHECKER.redefine("integer", is_integer)
    if "date-time" not in kind.FORMAT_CHECKER.checkers:
        kind.FORMAT_CHECKER.checkers["date-time"] = (is_date_time, ValueError)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


# ---- Answers ---------------------------------------------------------------------------------------------------------

def no_duplicates(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def judge(checker, text):
    """-> "valid", "invalid" or "unusable", and why."""
    try:
        data = exact(text, object_pairs_hook=no_duplicates)
        checker.validate(data)
    except ValueError as e:     # jsonschema's own are none
        return "invalid", "no JSON: %s" % e
    except jsonschema.ValidationError as e:
        return "invalid", "%s at /%s: %s" % (e.validator, "/".join(map(str, e.absolute_path)), e.message[:200])
    except Exception as e:      # a reference that leads nowhere, a pattern that is none of Python's
        return "unusable", "%s: %s" % (type(e).__name__, str(e)[:200])
    return "valid", ""


def validate(cases, walks, out=sys.stderr):
    """-> how many answers are valid, invalid, unusable."""
    schemas = {case["name"]: case["schema"] for case in map(exact, cases)}
    checkers = {}
    counts = collections.Counter(valid=0, invalid=0, unusable=0)
    for line in walks:
        name, _, text = line.rstrip("\n").partition("\t")
        if name not in checkers:
            checkers[name] = validator(schemas[name])
        verdict, why = judge(checkers[name], text)
        counts[verdict] += 1
        if verdict != "valid":
            print("%s %s: %s: %s" % (verdict.upper(), name, why, text[:300]), file=out)
    return counts


if __name__ == "__main__":
    found = validate(lines(sys.argv[1]), lines(sys.argv[2]))
    print(json.dumps(found))
    sys.exit(0 if found["valid"] and not found["invalid"] else 1)
