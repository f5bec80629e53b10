"""Random schemas with instances, each judged by Python's jsonschema, as build/bench/masks reads them.

    python3 test/constrain/instances.py [SCHEMAS [SEED]] >FILE; build/bench/masks FILE models/tiny-chatglm3 verbose

Instances are made along their schema, and off it now and then; so about half of them are valid.
"""
import json
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import masks_validate
import schemas

TEXTS = schemas.WORDS + ["red1", "12", "555-1234", "abc", "a\nc", "x", "a,x", "é", " ", "ab12", "nob", "yes", "F", "cat", "a cat!", "cats",
                         "me@example.com", "2024-02-29", "2023-02-29", "2024-02-29T12:00:00Z", "12:30:00Z", "P1D", "PT5M", "localhost",
                         "127.0.0.1", "::1", "urn:a:b", "/a/b", "123e4567-e89b-12d3-a456-426614174000", "\U0001f600", "aaaaaaaaaaaaaaaaaaaaa"]
NAMES = schemas.NAMES + ["x-1", "c", "B", "_", "k9", "x"]


class Instances:
    """Values for one schema."""

    def __init__(self, chance, schema):
        self.chance = chance
        self.root = schema

    def some(self, share):
        return self.chance.random() < share

    def follow(self, schema):
        """What a reference leads to, with what stands beside it."""
        for _ in range(8):
            ref = schema.get("$ref")
            if ref is None:
                break
            target = self.root
            for token in ref.split("/")[1:]:
                target = target[token]
            schema = {**{key: value for key, value in schema.items() if key != "$ref"}, **target}
        return schema

    def anything(self, depth=2):
        kind = self.chance.randint(0, 6 if depth > 0 else 4)
        if kind < 2:
            return self.chance.choice(TEXTS)
        if kind == 2:
            return self.chance.choice(schemas.NUMBERS + [3, 4, 100.5, 1e20, 0.001])
        if kind < 5:
            return self.chance.choice([None, True, False])
        if kind == 5:
            return [self.anything(depth - 1) for _ in range(self.chance.randint(0, 3))]
        return {self.chance.choice(NAMES): self.anything(depth - 1) for _ in range(self.chance.randint(0, 3))}

    def of(self, schema, depth=5):
        if not isinstance(schema, dict) or depth == 0 or self.some(0.04):
            return self.anything()
        schema = self.follow(schema)
        for key in "anyOf", "oneOf", "allOf":
            if key in schema and self.some(0.8):
                return self.of({**{k: v for k, v in schema.items() if k != key}, **self.follow(self.chance.choice(schema[key]))}, depth - 1)
        for key in "then", "else", "if":
            if isinstance(schema.get(key), dict) and self.some(0.3):
                return self.of({**{k: v for k, v in schema.items() if k not in ("if", "then", "else")}, **schema[key]}, depth - 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.chance.choice(schema["enum"])
        kind = schema.get("type") or self.guess(schema)
        if isinstance(kind, list):
            kind = self.chance.choice(kind)
        return {"string": self.string, "integer": self.number, "number": self.number, "array": self.array,
                "object": self.object}.get(kind, lambda *_: {"boolean": self.some(0.5), "null": None}.get(kind))(schema, depth)

    def guess(self, schema):
        for key, kind in (("properties", "object"), ("required", "object"), ("items", "array"), ("minimum", "number"), ("pattern", "string")):
            if key in schema:
                return kind
        return self.chance.choice(["string", "object", "array", "integer"])

    def string(self, schema, _):
        text = self.chance.choice(TEXTS)
        least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
        return (text + "a" * least)[:max(least, 1)] if self.some(0.2) else text[:most] if self.some(0.5) else text

    def number(self, schema, _):
        near = [schema[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
                if isinstance(schema.get(key), (int, float)) and not isinstance(schema[key], bool)] or schemas.NUMBERS
        number = self.chance.choice(near) + self.chance.choice([0, 0, 1, -1, 2, 10, 0.5, -0.25])
        step = schema.get("multipleOf")
        if step and self.some(0.7):
            number = round(number / step) * step
        return int(number) if number == int(number) else number

    def array(self, schema, depth):
        items = schema.get("items", {})
        first = items if isinstance(items, list) else schema.get("prefixItems", [])
        rest = schema.get("additionalItems", {}) if isinstance(items, list) else items
        least, most = schema.get("minItems", 0), schema.get("maxItems", 4)
        made = [self.of(first[i] if i < len(first) else rest, depth - 1)
                for i in range(max(0, self.chance.randint(least, max(least, most)) + self.chance.choice([0, 0, 0, 1, -1])))]
        if made and "contains" in schema and self.some(0.6):
            made[self.chance.randrange(len(made))] = self.of(schema["contains"], depth - 1)
        return made

    def object(self, schema, depth):
        properties = schema.get("properties", {})
        names = [name for name in schema.get("required", []) if self.some(0.93)]
        names += [name for name in properties if name not in names and self.some(0.5)]
        if self.some(0.3):
            names.append(self.chance.choice(NAMES))
        self.chance.shuffle(names)
        additional = schema.get("additionalProperties", {})
        return {name: self.of(properties.get(name, additional), depth - 1) for name in names}


def is_clean(value):
    """Is there no float that is an integer, of which drafts and we differ?"""
    if isinstance(value, dict):
        return all(map(is_clean, value.values()))
    if isinstance(value, list):
        return all(map(is_clean, value))
    return not (isinstance(value, float) and value == int(value))


def knows_formats(checker, text):
    """Does this jsonschema judge the formats of a schema as we do? Some take packages that need not be there; and where less in
    one place is more in another, we ask for what is valid without formats, too."""
    formats = re.findall(r'"format": "([^"]*)"', text)
    turns = re.search(r'"(not|oneOf|if|maxContains)": ', text)
    return not formats or (not turns and all(name in checker.format_checker.checkers or name == "a-format-nobody-knows"
                                             for name in formats))


def cases(count, seed, instances=8):
    """A line for each schema; those that jsonschema cannot judge have no instances."""
    chance = random.Random(seed)
    for number, (_, text) in enumerate(schemas.cases(count, seed)):
        schema = json.loads(text)
        checker = masks_validate.validator(masks_validate.exact(text))
        tests = []
        for value in (Instances(chance, schema).of(schema) for _ in range(instances * knows_formats(checker, text))):
            verdict, _ = masks_validate.judge(checker, json.dumps(value))
            if verdict != "unusable" and is_clean(value):
                tests.append({"valid": verdict == "valid", "data": value})
        yield json.dumps({"name": str(number), "schema": schema, "tests": tests})


if __name__ == "__main__":
    for line in cases(int((sys.argv[1:] or [100])[0]), int((sys.argv[2:] or [0])[0])):
        print(line)
