"""Exact-match accuracy of a model on held-out rows, greedy, with ChatGLM3's stop tokens.

    evaluate.py MODEL-DIR [rows-per-task] [seed]     evaluates the exported F16 weights
"""
import sys
import time

import data


def evaluate(model, tok, count, seed=2024, show=0):
    """-> {task: percent right}. Right means: metadata, content and the token that ends the answer are all as wanted."""
    model.eval()
    rows = list(data.heldout(count, seed))
    prompts = [tok.prompt(row["messages"]) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    right, wrong = dict.fromkeys(data.TASKS, 0), dict.fromkeys(data.TASKS, 0)
    for at in range(0, len(order), 100):
        chunk = order[at:at + 100]
        for i, ids in zip(chunk, model.greedy([prompts[i] for i in chunk], tok.stops)):
            row = rows[i]
            good = tok.decode(ids) == (row["metadata"], row["answer"]) and ids[-1] == tok.special[row["stop"]]
            right[row["task"]] += good
            if not good:
                wrong[row["task"]] += 1
                if wrong[row["task"]] <= show:
                    print(row["task"], "|", row["messages"][-1]["content"], "| want", row["answer"], "| got",
                          tok.decode(ids), file=sys.stderr)
    model.train()
    return {task: round(100 * n / count, 2) for task, n in right.items()}


if __name__ == "__main__":
    import torch
    from export import load
    from tokenizer import Tokenizer
    torch.set_num_threads(2)
    number = [int(a) for a in sys.argv[2:]]
    count = number[0] if number else 1000
    began = time.time()
    result = evaluate(load(sys.argv[1]), Tokenizer(sys.argv[1]), count, *(number[1:] or [2024]), show=5)
    for task, percent in result.items():
        print("%-10s %6.2f %% exact of %d" % (task, percent, count))
    print("%.0f seconds" % (time.time() - began))
