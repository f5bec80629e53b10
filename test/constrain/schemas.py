"""Random schemas with prompts, over every keyword that constrained output keeps to.

    python3 test/constrain/schemas.py [SCHEMAS [SEED]]     prints them, one a line

test/t/test_schemas.py has models answer by them. A schema may have no value that fits: what is put together at random
contradicts itself now and then.
"""
import json
import random
import sys

DRAFTS = {4: "http://json-schema.org/draft-04/schema#", 6: "http://json-schema.org/draft-06/schema#",
          7: "http://json-schema.org/draft-07/schema#", 2019: "https://json-schema.org/draft/2019-09/schema",
          2020: "https://json-schema.org/draft/2020-12/schema"}
NAMES = ["name", "id", "city", "quantity", "a", "b", "tags", "x-y", "été", "na\"me", "ref", "kind", "名"]
WORDS = ["red", "green", "", "a\"b", "back\\slash", "two words", "naïve", "中文", "line\nbreak", "Berlin", "0", "true"]
PATTERNS = ["^[a-z]+$", "[0-9]{2,4}", "^(red|green|blue)$", "^\\d{3}-\\d{4}$", "a.c", "^[^\"\\\\]*$", "^\\S+@\\S+$",
            "^(?=.*[0-9])(?=.*[a-z])[a-z0-9]{4,8}$", "^(?!no)[a-z]{2,6}$", "(^|,)x(,|$)", "\\u00e9", "^\\s*$", "^$", "[A-F]$",
            "\\bcat\\b"]
NAME_PATTERNS = ["^x-", "^[a-z]+$", "[0-9]$", "^(a|b|c)", "e", "^[^_]*$", "^(?!x)"]
FORMATS = ["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid",
           "json-pointer", "a-format-nobody-knows"]
NUMBERS = [0, 1, -1, 2, 7, 10, 100, -100, 0.5, -0.25, 1.5, 3.14159, 1e3, 65535, 12345678901, 0.01, -1e-3]
MULTIPLES = [1, 2, 3, 7, 10, 0.5, 0.01, 0.1, 2.5, 100]
PROMPTS = ["Please ship 12 desk lamp to Berlin.", "Write JSON.", "How do you feel?", "", "What is the capital of France?",
           "Describe {\"name\": \"x\"} again.", "数据库里有什么？", "List [1, 2, 3] as it is."]


class Schemas:
    """Schemas of one draft each; `defined` counts what $ref may point to."""

    def __init__(self, chance):
        self.chance = chance

    def schema(self):
        self.draft = self.chance.choice(list(DRAFTS))
        self.definitions = "definitions" if self.draft <= 7 else "$defs"
        self.defined = self.chance.choice([0, 0, 1, 2, 3])
        schema = {"$schema": DRAFTS[self.draft]} if self.chance.random() < 0.7 else {}
        if not schema:          # what is not declared is the newest draft, with what older ones had
            self.draft = 2020
            self.definitions = "$defs"
        self.in_place = self.defined
        schema.update(self.any(self.chance.choice([1, 2, 2, 3, 4])))
        if self.defined:
            schema[self.definitions] = {"d%d" % i: self.definition(i) for i in range(self.defined)}
        return schema

    def definition(self, i):
        """One that refers to itself only from inside of a container: without, it is malformed."""
        self.in_place = i
        return self.any(2)

    def inside(self, depth):
        """A schema for what lies in an array or object."""
        in_place, self.in_place = self.in_place, self.defined
        schema = self.any(depth - 1)
        self.in_place = in_place
        return schema

    def some(self, share):
        return self.chance.random() < share

    def any(self, depth):
        """A schema for anything."""
        kinds = [self.string, self.number, self.integer, self.enum, self.simple]
        if depth > 0:
            kinds += [self.object] * 5 + [self.array] * 3 + [self.combined] * 3
        if self.in_place > 0 and depth < 3:
            kinds.append(self.reference)
        schema = self.chance.choice(kinds)(depth)
        if self.some(0.1):
            schema[self.chance.choice(["title", "description", "x-note", "$comment"])] = "a note"
        if self.some(0.05) and "$ref" not in schema:
            schema.pop("type", None)
        return schema

    # ---- By kind -------------------------------------------------------------------------------------------------

    def simple(self, depth):
        if self.draft > 4 and self.some(0.1):
            return {}
        return {"type": self.chance.choice(["boolean", "null", "string", "integer", "number", ["string", "null"],
                                            ["integer", "boolean"]])}

    def value(self, depth=1):
        kind = self.chance.random()
        if kind < 0.4:
            return self.chance.choice(WORDS)
        if kind < 0.65:
            return self.chance.choice(NUMBERS)
        if kind < 0.8 or depth == 0:
            return self.chance.choice([None, True, False])
        if kind < 0.9:
            return [self.value(depth - 1) for _ in range(self.chance.randint(0, 3))]
        return {self.chance.choice(NAMES): self.value(depth - 1) for _ in range(self.chance.randint(0, 3))}

    def enum(self, depth):
        if self.draft > 4 and self.some(0.3):
            return {"const": self.value()}
        values = []
        for _ in range(self.chance.randint(1, 6)):
            value = self.value()
            if json.dumps(value) not in map(json.dumps, values):
                values.append(value)
        return {"enum": values}

    def string(self, depth):
        schema = {"type": "string"}
        kind = self.chance.random()
        if kind < 0.35:
            schema["pattern"] = self.chance.choice(PATTERNS)
        elif kind < 0.55:
            schema["format"] = self.chance.choice(FORMATS)
        if self.some(0.3):
            schema["minLength"] = self.chance.choice([0, 1, 2, 5, 12])
        if self.some(0.4):
            schema["maxLength"] = schema.get("minLength", 0) + self.chance.choice([0, 1, 3, 8, 20])
        return schema

    def number(self, depth):
        return self.bounded({"type": "number"})

    def integer(self, depth):
        return self.bounded({"type": "integer"})

    def bounded(self, schema):
        low = self.chance.choice(NUMBERS)
        if self.some(0.4):
            self.bound(schema, "minimum", "exclusiveMinimum", low)
        if self.some(0.4):
            self.bound(schema, "maximum", "exclusiveMaximum", low + self.chance.choice([0, 1, 2.5, 100, 1e6]))
        if self.some(0.25):
            schema["multipleOf"] = self.chance.choice(MULTIPLES)
        return schema

    def bound(self, schema, name, exclusive, value):
        if self.draft == 4:
            schema[name] = value
            if self.some(0.3):
                schema[exclusive] = self.some(0.5)
        else:
            schema[self.chance.choice([name, name, exclusive])] = value

    def array(self, depth):
        schema = {"type": "array"}
        if self.some(0.8):
            schema["items"] = self.inside(depth)
        if self.some(0.25):
            first = [self.inside(depth) for _ in range(self.chance.randint(1, 3))]
            if self.draft >= 2020:
                schema["prefixItems"] = first
            else:
                schema["items"] = first
                if self.some(0.5):
                    schema["additionalItems"] = False if self.some(0.3) else self.inside(depth)
        if self.some(0.4):
            schema["minItems"] = self.chance.choice([0, 1, 2, 3])
        if self.some(0.5):
            schema["maxItems"] = schema.get("minItems", 0) + self.chance.choice([0, 1, 2, 4])
        if self.some(0.15):
            schema["uniqueItems"] = True
        if self.some(0.15) and self.draft > 4:
            schema["contains"] = self.inside(depth)
            if self.draft >= 2019 and self.some(0.5):
                schema["minContains"] = self.chance.choice([0, 1, 2])
            if self.draft >= 2019 and self.some(0.5):
                schema["maxContains"] = schema.get("minContains", 1) + self.chance.choice([0, 1])
        return schema

    def object(self, depth):
        names = self.chance.sample(NAMES, self.chance.randint(0, 5))
        schema = {"type": "object", "properties": {name: self.inside(depth) for name in names}}
        if names and self.some(0.7):
            schema["required"] = self.chance.sample(names, self.chance.randint(1, len(names)))
        if self.some(0.7):
            schema["additionalProperties"] = False if self.some(0.7) else self.inside(depth)
        if self.some(0.2):
            schema["patternProperties"] = {pattern: self.inside(depth) for pattern in self.chance.sample(NAME_PATTERNS, 2)}
        if self.some(0.1):
            schema["minProperties"] = self.chance.choice([1, 2, 3])
        if self.some(0.1):
            schema["maxProperties"] = self.chance.choice([1, 3, 5])
        if self.some(0.1) and self.draft > 4:
            schema["propertyNames"] = self.chance.choice([{"pattern": "^[a-z]"}, {"maxLength": 4}, {"enum": NAMES[:6]},
                                                          {"not": {"const": "id"}}])
        if names and self.some(0.15):
            self.depend(schema, names, depth)
        return schema

    def depend(self, schema, names, depth):
        name = self.chance.choice(names)
        needed = self.chance.sample(names if self.some(0.7) else NAMES, self.chance.randint(1, min(2, len(names))))
        if self.draft <= 7:
            schema["dependencies"] = {name: needed if self.some(0.5) else self.object(depth - 1)}
        elif self.some(0.5):
            schema["dependentRequired"] = {name: needed}
        else:
            schema["dependentSchemas"] = {name: self.object(depth - 1)}

    # ---- What is made of several ----------------------------------------------------------------------------------

    def combined(self, depth):
        """What stands beside a combinator mostly is of the kind of its parts, or nothing would fit."""
        kind = self.chance.choice(["anyOf", "anyOf", "oneOf", "oneOf", "allOf", "not", "if"])
        part = self.chance.choice([self.any, self.object, self.object, self.array, self.string, self.integer])
        base = part(depth) if part != self.any else {}
        parts = [(part if self.some(0.8) else self.any)(depth - 1) for _ in range(self.chance.randint(1, 3))]
        if kind == "not" or (kind == "if" and self.draft < 7):
            return {**base, "not": parts[0]}
        if kind == "if":
            return {**base, **dict(zip(["if", "then", "else"], parts))}
        return {**base, kind: [part(depth - 1) for _ in range(2)] if kind == "allOf" else parts}

    def reference(self, depth):
        places = ["#/%s/d%d" % (self.definitions, i) for i in range(self.in_place)]
        return {"$ref": self.chance.choice(places)}


def cases(count, seed):
    """(prompt, text of a schema) so many times."""
    chance = random.Random(seed)
    schemas = Schemas(chance)
    return [(chance.choice(PROMPTS), json.dumps(schemas.schema(), ensure_ascii=chance.random() < 0.5))
            for _ in range(count)]


if __name__ == "__main__":
    for prompt, schema in cases(int((sys.argv[1:] or [10])[0]), int((sys.argv[2:] or [0])[0])):
        print(json.dumps({"prompt": prompt, "schema": json.loads(schema)}))
