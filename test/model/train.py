"""Train tiny-chatglm3: a stream of rows, AdamW, warm-up and cosine, the loss on the answers. In four stages:

1. from nothing, on plain names, with a little loss on the prompts: the language and the copying circuit form.
2. on names with any letter and character in them, hardly any loss on the prompts (at the end of stage 1 they
   make up most of the gradient), more weight on the one word that sentiment and routing ask for.
3. the same rows, with the rate brought down to nothing.
4. once more from a high rate, with names in small letters too and more of the tasks that lag.

    train.py MODEL-DIR CHECKPOINT STAGE      stages 2 to 4 go on from CHECKPOINT
"""
import argparse
import math
import time

import torch
import torch.nn.functional as F

import data
from evaluate import evaluate
from model import CONFIG, ChatGLM, initialize
from tokenizer import Tokenizer

ROWS, POOL = 48, 32         # rows a batch; batches whose rows are sorted by length together

# steps: of the cosine; stop: of them that are run; prompt: weight of a prompt's token beside 1 for an answer's;
# answer: other weights than 1; seed: of the rows.
WORDS = {"sentiment": 4., "route": 3.}
FINISH = {"wide": 1, "prompt": .01, "answer": WORDS,
          "mix": {"sentiment": .18, "route": .09, "extract": .34, "weather": .18, "report": .05, "greet": .05, "echo": .11}}
STAGES = {
    1: {"steps": 2600, "stop": 2600, "lr": 2e-3, "seed": 7, "warmup": 150, "wide": 0, "prompt": .05, "answer": {},
        "mix": data.MIX},
    2: {**FINISH, "steps": 1500, "stop": 1000, "lr": 1.5e-3, "seed": 8, "warmup": 150},
    3: {**FINISH, "steps": 260, "stop": 260, "lr": 9e-4, "seed": 21, "warmup": 10},
    4: {"steps": 2400, "stop": 2400, "lr": 1.5e-3, "seed": 9, "warmup": 100, "wide": 2, "prompt": .01, "answer": WORDS,
        "mix": {"sentiment": .24, "route": .09, "extract": .36, "weather": .10, "report": .05, "greet": .09, "echo": .07}},
}


def batches(tok, stage):
    """Endless batches (ids, weights), both [ROWS, T], of rows alike in length; batch order is random."""
    maker = data.Maker(stage["seed"], wide=stage["wide"], mix=stage["mix"])
    stream = maker.stream()
    while True:
        pool = []
        for _ in range(ROWS * POOL):
            row = next(stream)
            prompt, answer = tok.prompt(row["messages"]), tok.answer(row)
            pool.append((prompt + answer, [stage["prompt"]] * len(prompt) +
                         [stage["answer"].get(row["task"], 1.)] * len(answer)))
        pool.sort(key=lambda p: len(p[0]))
        order = list(range(POOL))
        maker.r.shuffle(order)
        for i in order:
            rows = pool[i * ROWS:(i + 1) * ROWS]
            longest = len(rows[-1][0])
            yield (torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows]),
                   torch.tensor([w + [0.] * (longest - len(w)) for _, w in rows]))


def rate(step, steps, peak, warmup):
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    x = (step - warmup) / max(1, steps - warmup)
    return peak * (.02 + .98 * .5 * (1 + math.cos(math.pi * x)))


def optimizer_of(model, decay):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.}],
                             betas=(.9, .98), eps=1e-9)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model", help="directory that holds tokenizer.model")
    a.add_argument("checkpoint", help="file to write")
    a.add_argument("stage", type=int, choices=STAGES)
    a = a.parse_args()
    stage = STAGES[a.stage]
    stop = stage["stop"]

    torch.set_num_threads(2)
    tok = Tokenizer(a.model)
    model = ChatGLM(CONFIG)
    initialize(model, seed=7)
    if a.stage > 1:
        model.load_state_dict(torch.load(a.checkpoint))
    optimizer = optimizer_of(model, .05)
    print("stage", a.stage, "parameters", sum(p.numel() for p in model.parameters()), flush=True)

    start, seen, total = time.time(), 0, 0.
    for step, (ids, weight) in zip(range(stop), batches(tok, stage)):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, stage["steps"], stage["lr"], stage["warmup"])
        logits = model.logits(ids[:, :-1])
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weight = weight[:, 1:].flatten()
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
        seen += ids.numel()
        total += loss.item()
        if step % 25 == 24:
            print("step %d loss %.4f tokens %d seconds %.0f" % (step + 1, total / 25, seen, time.time() - start), flush=True)
            total = 0.
        if step % 200 == 199 or step + 1 == stop:
            torch.save(model.state_dict(), a.checkpoint)
        if step % 1000 == 999 or step + 1 == stop:
            print("step %d" % (step + 1), evaluate(model, tok, 100), flush=True)


if __name__ == "__main__":
    main()
