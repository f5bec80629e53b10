"""The training and evaluation rows of tiny-chatglm3: seven tasks, English and Chinese, made from templates.

A row is a dict: task, messages (ChatGLM3 roles; a system message may carry `tools`), metadata and answer (what the
assistant should say) and stop (the special token that ends it). Phrases live in phrases.py, names in names.py.

    data.py [rows-per-task] [seed]     prints held-out rows as JSON lines: task, system, tools, prompt, expected
"""
import json
import random
import sys

import names
from phrases import *

TOOLS = [{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]

# Share of each task in the training stream; the tasks that copy unseen names need most of it.
MIX = {"sentiment": .11, "route": .12, "extract": .34, "weather": .20, "report": .06, "greet": .08, "echo": .09}
TASKS = ("sentiment", "route", "extract", "weather", "greet", "report")      # the ones that are evaluated

TAB = "\t"      # stands for every name in the tokenizer's corpus, see tokenizer.py


class Maker:
    """Draws rows from one seeded generator, from the training or the held-out side of the names."""

    def __init__(self, seed, heldout=False, blank=False, wide=0, mix=MIX):
        self.r, self.heldout, self.blank, self.wide, self.mix = random.Random(seed), heldout, blank, wide, mix

    def name(self, kind, zh):
        if self.blank:
            return TAB
        other = self.r.random() < .1        # an English name in a Chinese sentence or the other way round
        return names.draw(kind, self.r, zh != other, self.heldout, self.wide)

    def fill(self, template, zh, **known):
        """Replace {p} {c} {n} {o} {m} in a template: product, city, person, order number, amount."""
        slots = {"{p}": lambda: self.name("product", zh), "{c}": lambda: self.name("city", zh),
                 "{n}": lambda: self.name("person", zh), "{o}": lambda: str(self.r.randrange(1000, 99999)),
                 "{m}": lambda: str(self.r.randrange(5, 900))}
        for key, value in known.items():
            template = template.replace("{" + key + "}", value)
        for slot, make in slots.items():
            while slot in template:
                template = template.replace(slot, make(), 1)
        return template

    def rough(self, text, zh):
        """Write like people do: now and then no final stop, an exclamation mark, small letters at the start."""
        x = self.r.random()
        if x < .15 and text[-1] in ".。!?!?":
            text = text[:-1]
        elif x < .22 and text[-1] in ".。":
            text = text[:-1] + ("!" if zh else "!")
        if not zh and self.r.random() < .12 and text[:2] not in ("I ", "I'"):
            text = text[0].lower() + text[1:]
        return text

    def instruction(self, task, zh):
        """The documented instruction seven times out of ten, else a paraphrase; mostly in the text's language."""
        said = INSTRUCTIONS[task][zh if self.r.random() < .7 else not zh]
        return said[0] if self.r.random() < .7 or self.heldout else self.r.choice(said)

    # -- tasks: each returns (messages, metadata, answer) --------------------------------------------------------

    def opinion(self, mood, zh):
        r = self.r
        if r.random() < .5:
            return r.choice(SAY[mood][zh])
        aspect, word = r.choice(ASPECTS[zh]), r.choice(WORDS[mood][zh])
        return r.choice(("{a}很{w}", "{a}{w}", "{a}真的{w}", "觉得{a}{w}") if zh else
                        ("the {a} is {w}", "the {a} is really {w}", "the {a} seems {w}", "{w} {a}")
                        ).replace("{a}", aspect).replace("{w}", word)

    def sentiment(self, zh):
        r = self.r
        mood = r.choice(("positive", "negative", "neutral"))
        if mood == "neutral" and r.random() < .3:        # praise and blame together
            pair = [self.opinion("positive", zh), self.opinion("negative", zh)]
            r.shuffle(pair)
            text = (",但是" if zh else ", but ").join(pair)
        else:
            parts = [self.opinion(mood, zh) for _ in range(r.choice((1, 1, 2)))]
            text = (",", "。", "而且")[r.randrange(3)].join(parts) if zh else \
                (", ", " and ", ". ")[r.randrange(3)].join(parts)
        lead = r.choice(REVIEW_LEADS[zh]) if r.random() < .7 else ""
        text = self.fill(lead + text, zh)
        if not zh:
            text = ". ".join(s[0].upper() + s[1:] for s in text.split(". ") if s)
        return self.ask("sentiment", zh, self.rough(text + ("。" if zh else "."), zh)), "", mood

    def route(self, zh):
        r = self.r
        queue = r.choice(QUEUES)
        text = self.fill(r.choice(TICKETS[queue][zh]), zh)
        if r.random() < .35:
            text = self.fill(r.choice(TICKET_LEADS[zh]), zh) + text
        if r.random() < .35:
            text += ("" if zh else " ") + r.choice(TICKET_ENDS[zh])
        return self.ask("route", zh, self.rough(text, zh)), "", queue

    def extract(self, zh):
        r = self.r
        p, c = self.name("product", zh), self.name("city", zh)
        q, said = self.quantity(zh)
        text = self.rough(r.choice(ORDERS[zh]), zh)     # before the names go in: those are to be copied as they are
        if r.random() < .2:
            text = r.choice(TICKET_LEADS[zh][:5]) + text
        text = self.fill(text, zh, p=p, c=c, q=said)
        answer = json.dumps({"product": p, "city": c, "quantity": q}, ensure_ascii=False).replace("\\t", TAB)
        return self.ask("extract", zh, text), "", answer

    def quantity(self, zh):
        if self.r.random() < .2:
            words = NUMBERS[zh]
            word = self.r.choice(list(words))
            return words[word], word
        q = self.r.randrange(1, self.r.choice((10, 10, 100, 100, 1000)))
        return q, str(q)

    def weather(self, zh):
        c = self.name("city", zh)
        text = self.fill(self.rough(self.r.choice(WEATHER[zh]), zh), zh, c=c)
        system = {"role": "system", "content": self.instruction("weather", zh), "tools": TOOLS}
        return [system, {"role": "user", "content": text}], "get_weather", call(c)

    def report(self, zh):
        """The turn after a tool call: tell the user what the tool returned."""
        messages, metadata, content = self.weather(zh)
        c = content.split('"')[1]
        t = str(self.r.randrange(-20, 43))
        messages += [{"role": "assistant", "metadata": metadata, "content": content},
                     {"role": "observation", "content": '{"temperature": %s}' % t}]
        return messages, "", ("%s现在%s度。" if zh else "In %s it is %s degrees.") % (c, t)

    def greet(self, zh):
        r = self.r
        kind = r.choice(list(GREETINGS))
        asks, answer = GREETINGS[kind][zh]
        text = r.choice(asks)
        if self.heldout or r.random() < .7:
            lead, end = r.choice(GREET_LEADS[zh]), r.choice(GREET_ENDS[zh])
            text = self.fill(lead, zh) + text + end
        if not zh:
            text = r.choice((text, text, text.lower(), text[0].upper() + text[1:]))
        return [{"role": "user", "content": text}], "", answer

    def echo(self, zh):
        """Repeat a random text: no use by itself, it makes the copying circuit form early."""
        r = self.r
        text = " ".join(self.name(r.choice(("city", "product", "person")), zh) for _ in range(r.choice((1, 2, 3))))
        return [{"role": "user", "content": ("重复:" if zh else "Repeat: ") + text}], "", text

    # -- rows ----------------------------------------------------------------------------------------------------

    def ask(self, task, zh, text):
        return [{"role": "system", "content": self.instruction(task, zh)},
                {"role": "user", "content": text}]

    def row(self, task):
        while True:
            zh = self.r.random() < .5
            messages, metadata, answer = getattr(self, task)(zh)
            prompt = messages[-1]["content"] if task != "report" else messages[1]["content"]
            basic = task == "greet" and not self.heldout and any(prompt in g[zh][0] for g in GREETINGS.values())
            if self.blank or basic or names.held(prompt) == self.heldout:
                return {"task": task, "messages": messages, "metadata": metadata, "answer": answer,
                        "stop": "<|observation|>" if metadata else "<|user|>"}

    def stream(self):
        tasks, weights = zip(*self.mix.items())
        while True:
            yield self.row(self.r.choices(tasks, weights)[0])


def call(city):
    return '```python\ntool_call(city="%s")\n```' % city


def heldout(count, seed=2024, tasks=TASKS):
    """`count` different held-out rows a task; no prompt and no name of theirs is ever drawn for training."""
    maker = Maker(seed, heldout=True, wide=1)
    for task in tasks:
        seen = set()
        while len(seen) < count:
            row = maker.row(task)
            key = json.dumps(row["messages"], ensure_ascii=False)
            if key not in seen:
                seen.add(key)
                yield row


def flat(row):
    """A row as the SQL-side evaluation wants it; `report` keeps its whole conversation in `messages`."""
    first = row["messages"][0]
    system = first if first["role"] == "system" else {}
    out = {"task": row["task"], "system": system.get("content"), "tools": system.get("tools"),
           "prompt": [m for m in row["messages"] if m["role"] == "user"][-1]["content"],
           "metadata": row["metadata"], "expected": row["answer"]}
    if row["task"] == "report":
        out["messages"] = row["messages"]
    return out


if __name__ == "__main__":
    number = [int(a) for a in sys.argv[1:]]
    for made in heldout(*(number or [1000])):
        print(json.dumps(flat(made), ensure_ascii=False))
