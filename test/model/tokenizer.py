"""The tokenizer of tiny-chatglm3: training it with SentencePiece, and ChatGLM3's prompt built from its pieces.

    tokenizer.py DIR        trains DIR/tokenizer.model
"""
import json
import os
import shutil
import string
import sys
import tempfile

import sentencepiece as spm

SPECIALS = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
PIECES = 1015                    # and 9 specials: 1024 rows of embedding
RUNS = ["▁" * n for n in (16, 12, 8, 4)]        # the indents of the tools' JSON
LETTERS = string.ascii_letters + string.digits


def train(directory, rows=30000):
    """Learn the pieces from the templates with every name blanked out.

    A small vocabulary without pieces of names is what lets so small a model copy names it never saw: the same letters
    make the same tokens wherever they stand, and each of those tokens is met often. The blank is a TAB, which
    SentencePiece takes as a boundary that no piece crosses. Newlines stay byte pieces, as in ChatGLM3.
    """
    import data
    maker = data.Maker(seed=1, blank=True)
    stream = maker.stream()
    home, directory = os.getcwd(), os.path.abspath(directory)
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)       # the model file records the paths it was given: keep them short and always the same
        often, once = [], {"\t".join(LETTERS): None}   # most texts just once, or the instructions drown all others
        for number in range(rows):
            row = next(stream)
            for text in [system_text(m) for m in row["messages"]] + [row["metadata"], row["answer"]]:
                if number < rows // 20:
                    often += text.split("\n")
                once.update(dict.fromkeys(text.split("\n")))
        with open("corpus.txt", "w", encoding="utf-8") as f:
            f.write("\n".join(line for line in often + list(once) if line.strip()) + "\n")
        spm.SentencePieceTrainer.train(
            input="corpus.txt", model_prefix="tokenizer", model_type="bpe", vocab_size=PIECES,
            character_coverage=0.9995, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, add_dummy_prefix=True, user_defined_symbols=RUNS,
            required_chars=LETTERS, pad_id=-1,
            num_threads=1, minloglevel=1)
        shutil.copyfile("tokenizer.model", os.path.join(directory, "tokenizer.model"))
        os.chdir(home)


def system_text(message):
    if "tools" in message:
        return message["content"] + "\n" + json.dumps(message["tools"], indent=4, ensure_ascii=False)
    return message["content"]


class Tokenizer:
    def __init__(self, directory):
        self.sp = spm.SentencePieceProcessor(model_file=os.path.join(directory, "tokenizer.model"))
        self.special = {s: self.sp.get_piece_size() + i for i, s in enumerate(SPECIALS)}
        self.size = self.sp.get_piece_size() + len(SPECIALS)
        self.stops = {2, self.special["<|user|>"], self.special["<|observation|>"]}

    def encode(self, text):
        return self.sp.encode(text)

    def message(self, m):
        """<|role|> metadata\\n content, the two texts encoded each on its own."""
        head = self.encode(m.get("metadata", "") + "\n")
        return [self.special["<|%s|>" % m["role"]]] + head + self.encode(system_text(m))

    def prompt(self, messages):
        ids = [self.special["[gMASK]"], self.special["sop"]]
        for m in messages:
            ids += self.message(m)
        return ids + [self.special["<|assistant|>"]]

    def answer(self, row):
        """What the model is to say after <|assistant|>, up to and with the special token that stops it."""
        said = {"role": "assistant", "metadata": row["metadata"], "content": row["answer"]}
        return self.message(said)[1:] + [self.special[row["stop"]]]

    def decode(self, ids):
        """-> (metadata, content)"""
        text = self.sp.decode([i for i in ids if i < self.sp.get_piece_size() and i != 2])
        metadata, _, content = text.partition("\n")
        return metadata.strip(), content.strip()


if __name__ == "__main__":
    train(sys.argv[1])
