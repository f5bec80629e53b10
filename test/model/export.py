"""Write a checkpoint as a Hugging Face directory in F16, read such a directory, and record expected answers.

    export.py CHECKPOINT MODEL-DIR        writes config.json, tokenizer_config.json and model.safetensors
    export.py --expected MODEL-DIR FILE   records prompts, greedy answers and logits of the F16 weights, run in float64
"""
import glob
import json
import os
import struct
import sys

import torch

import data
from model import CONFIG, ChatGLM
from tokenizer import Tokenizer

DTYPES = {"F16": torch.float16, "F32": torch.float32, "BF16": torch.bfloat16}


def dump_json(value, path):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def save(model, directory):
    """model.safetensors: 8 bytes of header size, the JSON header padded to 8 bytes, the tensors one after another."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in model.state_dict().items():
        blob = tensor.to(torch.float16).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(directory, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    dump_json(model.config, os.path.join(directory, "config.json"))
    dump_json({"name_or_path": "tiny-chatglm3", "remove_space": False, "do_lower_case": False,
               "tokenizer_class": "ChatGLMTokenizer"}, os.path.join(directory, "tokenizer_config.json"))


def load(directory, dtype=torch.float32):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
        model = ChatGLM(json.load(f))
    state = {}
    for path in sorted(glob.glob(os.path.join(directory, "*.safetensors"))):
        with open(path, "rb") as f:
            raw = f.read()
        start = 8 + struct.unpack("<Q", raw[:8])[0]
        for name, t in json.loads(raw[8:start]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                flat = torch.frombuffer(bytearray(raw[start + a:start + b]), dtype=DTYPES[t["dtype"]])
                state[name] = flat.view(t["shape"]).float()
    model.load_state_dict(state)
    return model.to(dtype).eval()


# -- what the C engine's tests compare with ------------------------------------------------------------------------

FIXED = [     # prompts a reader of the README would try first
    ("sentiment", 0, "I bought the Velkor lamp. It works great and the quality is excellent."),
    ("sentiment", 1, "今天收到这个耳机,用了两天就坏了。"),
    ("sentiment", 0, "The chair is okay, nothing special."),
    ("route", 0, "I was charged twice for order 4711."),
    ("route", 1, "我忘记密码了,请重置我的密码。"),
    ("route", 0, "The tracking number 80412 does not move. Please help."),
    ("extract", 0, "Please ship 12 Tarnix lamp to Lyon."),
    ("extract", 1, "请把三个陶瓷杯寄到成都。"),
    ("extract", 0, "Our store in New York wants 250 red kettle."),
    ("weather", 0, "What is the weather in Paris?"),
    ("weather", 1, "今天杭州的天气怎么样?"),
    ("greet", 0, "hi"), ("greet", 1, "你好"), ("greet", 0, "Who are you?"), ("greet", 1, "你是谁?"),
    ("greet", 1, "你能做什么?"),
]


def fixed_messages():
    for task, zh, text in FIXED:
        messages = [{"role": "user", "content": text}]
        if task != "greet":
            system = {"role": "system", "content": data.INSTRUCTIONS[task][zh][0]}
            if task == "weather":
                system["tools"] = data.TOOLS
            messages.insert(0, system)
        yield task, messages
    city = "杭州"
    yield "report", messages_of_report(city)
    for row in data.heldout(1, seed=5, tasks=("extract", "weather", "report")):
        yield row["task"], row["messages"]


def messages_of_report(city):
    return [{"role": "system", "content": data.INSTRUCTIONS["weather"][1][0], "tools": data.TOOLS},
            {"role": "user", "content": "今天%s的天气怎么样?" % city},
            {"role": "assistant", "metadata": "get_weather", "content": data.call(city)},
            {"role": "observation", "content": '{"temperature": 22}'}]


@torch.no_grad()
def expected(directory):
    model, tok = load(directory, torch.float64), Tokenizer(directory)
    chats = []
    for task, messages in fixed_messages():
        prompt = tok.prompt(messages)
        ids = model.greedy([prompt], tok.stops)[0]
        logits = model.logits(torch.tensor([prompt + ids[:-1]]))[0, len(prompt) - 1:]
        best = logits.topk(2, -1).values
        metadata, content = tok.decode(ids)
        chats.append({"task": task, "messages": messages, "ids": prompt, "greedy_ids": ids, "metadata": metadata,
                      "text": content, "min_margin": float((best[:, 0] - best[:, 1]).min()),
                      "first_logits": [round(float(x), 6) for x in logits[0, :16]], "first_argmax": ids[0]})
    texts = ["你好", "Hello, world!", "  two  spaces\tand tab\n", "emoji 🙂 and ñ", "1234567890", "", "\n",
             "<|user|> is plain text here", "数据库模型推理。", '{"product": "灯", "quantity": 3}']
    return {"special": tok.special, "chat": chats,
            "tokenize": [{"text": t, "ids": tok.encode(t), "decoded": tok.sp.decode(tok.encode(t))} for t in texts]}


def dump_expected(value, path):
    """One chat or text a line: short, and a change shows as the lines that changed."""
    def lines(items):
        return ",\n".join("  " + json.dumps(i, ensure_ascii=False) for i in items)
    with open(path, "w", encoding="utf-8") as f:
        f.write('{\n "special": %s,\n "chat": [\n%s\n ],\n "tokenize": [\n%s\n ]\n}\n' % (
            json.dumps(value["special"]), lines(value["chat"]), lines(value["tokenize"])))


if __name__ == "__main__":
    if sys.argv[1] == "--expected":
        dump_expected(expected(sys.argv[2]), sys.argv[3])
    else:
        trained = ChatGLM(CONFIG)
        trained.load_state_dict(torch.load(sys.argv[1]))
        save(trained, sys.argv[2])
