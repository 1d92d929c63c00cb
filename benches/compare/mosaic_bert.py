"""DNABERT-S in plain PyTorch: MosaicBERT (Portes et al. 2023, arXiv:2312.17482) with the settings of DNABERT-2 (Zhou et
al. 2023, arXiv:2306.15006). A BERT with LayerNorm after each half layer, ALiBi (Press et al. 2022, arXiv:2108.12409) in
place of position embeddings, and gated linear units.

Letters: B sequences, T tokens, D width, H heads, K = D / H, F inner width.
"""

import torch
from torch.nn import functional


def alibi_slopes(heads):
    """A geometric series for a power of two, else filled up from that of the next larger power."""

    def series(count):
        return [2 ** (-8 * i / count) for i in range(1, count + 1)]

    smaller = 1 << (heads.bit_length() - 1)
    return torch.tensor((series(smaller) + series(2 * smaller)[::2])[:heads])


class MosaicBert:
    def __init__(self, tensors, config):
        """`tensors` by the names of the published checkpoint."""
        # Parameters, since autocast keeps the converted form of nothing else.
        self.tensors = {name.removeprefix("bert."): torch.nn.Parameter(value) for name, value in tensors.items()}
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.eps = config["layer_norm_eps"]
        self.slopes = alibi_slopes(self.heads).view(1, -1, 1, 1)

    def linear(self, x, name):
        return functional.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def norm(self, x, name):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, self.eps)

    def bias(self, real):
        """[B or 1, H, T, T] from [B, T]: minus slope times distance, and no look at padding."""
        place = torch.arange(real.shape[1])
        bias = self.slopes * -(place[None, :] - place[:, None]).abs()
        return bias if real.all() else bias.masked_fill(~real[:, None, None, :], float("-inf"))

    def attention(self, x, bias, name):
        batch, length, width = x.shape
        qkv = self.linear(x, f"{name}.self.Wqkv").view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, H, T, K] each
        weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5 + bias).softmax(3)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(batch, length, width)
        return self.norm(x + self.linear(mixed, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def feed_forward(self, x, name):
        gate, up = self.linear(x, f"{name}.gated_layers").chunk(2, dim=2)  # [B, T, F] each
        return self.norm(x + self.linear(functional.gelu(gate) * up, f"{name}.wo"), f"{name}.layernorm")

    def pooled(self, ids, real):
        """Mean over the tokens that are real, [B, D]; `ids` and `real` are [B, T]."""
        first = self.tensors["embeddings.token_type_embeddings.weight"][0]
        x = functional.embedding(ids, self.tensors["embeddings.word_embeddings.weight"]) + first
        x = self.norm(x, "embeddings.LayerNorm")
        bias = self.bias(real)
        for layer in range(self.layers):
            x = self.attention(x, bias, f"encoder.layer.{layer}.attention")
            x = self.feed_forward(x, f"encoder.layer.{layer}.mlp")
        x = x.float() * real[:, :, None]
        return x.sum(1) / real.sum(1, keepdim=True)
