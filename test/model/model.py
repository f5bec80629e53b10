"""ChatGLM3 in PyTorch, as small as it goes: fused QKV with grouped-query attention, RoPE on the first half of each
head in interleaved pairs, RMSNorm, SwiGLU, untied output. Parameter names are those of the published checkpoints.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "model_type": "chatglm", "architectures": ["ChatGLMModel"], "add_bias_linear": False, "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True, "apply_residual_connection_post_layernorm": False, "ffn_hidden_size": 512,
    "hidden_size": 192, "kv_channels": 32, "layernorm_epsilon": 1e-05, "multi_query_attention": True,
    "multi_query_group_num": 2, "num_attention_heads": 6, "num_layers": 5, "original_rope": True,
    "padded_vocab_size": 1024, "post_layer_norm": True, "rmsnorm": True, "seq_length": 2048, "torch_dtype": "float16",
    "tie_word_embeddings": False, "eos_token_id": 2, "pad_token_id": 0}


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(length, head, dtype=torch.float32):
    """cos and sin of position * 10000^(-2i/(head/2)): [length, head/4] each."""
    rotated = head // 2
    theta = 10000.0 ** (-torch.arange(0, rotated, 2, dtype=torch.float64) / rotated)
    angle = torch.outer(torch.arange(length, dtype=torch.float64), theta)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rope(x, cos, sin):
    """x: [batch, heads, T, head]; cos, sin: [T, head/4]. The second half of each head passes as it is."""
    half = x.shape[-1] // 2
    even, odd = x[..., 0:half:2], x[..., 1:half:2]
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
    return torch.cat((turned, x[..., half:]), -1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.groups, self.head = c["num_attention_heads"], c["multi_query_group_num"], c["kv_channels"]
        self.query_key_value = nn.Linear(c["hidden_size"], (self.heads + 2 * self.groups) * self.head)
        self.dense = nn.Linear(self.heads * self.head, c["hidden_size"], bias=False)

    def forward(self, x, cos, sin, mask, cache):
        b, t, _ = x.shape
        qkv = self.query_key_value(x).view(b, t, -1, self.head).transpose(1, 2)
        q, k, v = qkv.split((self.heads, self.groups, self.groups), 1)
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        # the heads of one group lie together: [b, groups, heads/groups * t, head]
        q = (q / math.sqrt(self.head)).reshape(b, self.groups, -1, self.head)
        scores = (q @ k.transpose(-1, -2)).view(b, self.groups, -1, t, k.shape[2]) + mask
        out = scores.softmax(-1).view(b, self.groups, -1, k.shape[2]) @ v
        return self.dense(out.view(b, self.heads, t, self.head).transpose(1, 2).reshape(b, t, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(c["hidden_size"], 2 * c["ffn_hidden_size"], bias=False)
        self.dense_4h_to_h = nn.Linear(c["ffn_hidden_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        gate, up = self.dense_h_to_4h(x).chunk(2, -1)
        return self.dense_4h_to_h(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["layernorm_epsilon"])
        self.self_attention = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["layernorm_epsilon"])
        self.mlp = MLP(c)

    def forward(self, x, *attention):
        x = x + self.self_attention(self.input_layernorm(x), *attention)
        return x + self.mlp(self.post_attention_layernorm(x))


class ChatGLM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        embedding, encoder = nn.Module(), nn.Module()
        embedding.word_embeddings = nn.Embedding(c["padded_vocab_size"], c["hidden_size"])
        encoder.layers = nn.ModuleList(Layer(c) for _ in range(c["num_layers"]))
        encoder.final_layernorm = RMSNorm(c["hidden_size"], c["layernorm_epsilon"])
        self.transformer = nn.Module()
        self.transformer.embedding, self.transformer.encoder = embedding, encoder
        self.transformer.output_layer = nn.Linear(c["hidden_size"], c["padded_vocab_size"], bias=False)

    def forward(self, ids, pad=None, caches=None):
        """ids: [batch, T] -> hidden states before the output layer. pad: [batch], left padding that no one looks at."""
        body = self.transformer
        past = caches[0][0].shape[2] if caches and caches[0] else 0
        t = ids.shape[1]
        dtype = body.output_layer.weight.dtype
        cos, sin = (a[past:] for a in rope_table(past + t, self.config["kv_channels"], dtype))
        at = torch.arange(past + t)
        hidden = at[None, :] > at[past:, None]                              # [T, past + T]
        if pad is not None:
            hidden = hidden | (at[None, None, :] < pad[:, None, None])      # [batch, T, past + T]
            hidden = hidden[:, None, None]
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -1e9)
        x = body.embedding.word_embeddings(ids)
        for i, layer in enumerate(body.encoder.layers):
            x = layer(x, cos, sin, mask, caches[i] if caches is not None else None)
        return body.encoder.final_layernorm(x)

    def logits(self, ids, pad=None, caches=None):
        return self.transformer.output_layer(self.forward(ids, pad, caches))

    @torch.no_grad()
    def greedy(self, prompts, stops, limit=96):
        """Batched greedy decoding. RoPE is relative, so padding on the left moves nothing. -> id lists with the stop."""
        longest = max(map(len, prompts))
        pad = torch.tensor([longest - len(p) for p in prompts])
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
        caches = [[] for _ in range(self.config["num_layers"])]
        answers, open_rows = [[] for _ in prompts], set(range(len(prompts)))
        for _ in range(limit):
            ids = self.transformer.output_layer(self.forward(ids, pad, caches)[:, -1]).argmax(-1, keepdim=True)
            for row in list(open_rows):
                answers[row].append(int(ids[row]))
                if answers[row][-1] in stops:
                    open_rows.discard(row)
            if not open_rows:
                break
        return answers


def initialize(model, seed):
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        if p.dim() == 2:
            scale = .02 / math.sqrt(2 * model.config["num_layers"]) if name.endswith(
                ("attention.dense.weight", "4h_to_h.weight")) else .02
            nn.init.normal_(p, std=scale)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
