"""Cross-attention of the conditional dimensions over the factors."""

import torch
from torch import nn

from .layers import Linear
from .priors import within_reach


class CrossAttentionFusion(nn.Module):
    """Fuse conditional dimensions with factors.

    Each conditional dimension is a query token, its value along a learned direction; each factor
    is a key and value token, the mean of learned class tokens under the RBF responses p(k | b_i).
    An all-zero token beside them lets a query attend to no factor. The attended values are added
    to the queries. Windows unlike any of the training may lie far out in a, where the prior has
    nothing: they are fused as if they lay at its edge.

    Parameters
    ----------
    n_conditional : int
        Number of conditional dimensions. 0: the queries are learned constants.
    class_counts : sequence of int
        Number of classes of each factor. Empty: the queries are passed on alone.
    n_embed : int, default=16
        Length of a token.
    n_heads : int, default=4
    """

    _N_CONSTANT_QUERIES = 8

    def __init__(self, n_conditional: int, class_counts, *, n_embed: int = 16, n_heads: int = 4):
        super().__init__()
        n_queries = n_conditional or self._N_CONSTANT_QUERIES
        self.n_features = n_queries * n_embed
        self.direction = nn.Parameter(torch.empty(n_conditional, n_embed))
        self.offset = nn.Parameter(torch.empty(n_queries, n_embed))
        self.class_tokens = nn.ParameterList(
            nn.Parameter(torch.empty(n_classes, n_embed)) for n_classes in class_counts
        )
        if class_counts:
            self.attention = Attention(n_embed, n_heads)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the tokens from `generator`."""
        for tokens in (self.direction, self.offset, *self.class_tokens):
            nn.init.normal_(tokens, std=tokens.shape[1] ** -0.5, generator=generator)

    def forward(
        self, a: torch.Tensor | None, responses: list[torch.Tensor], n_windows: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the fused features and the attention weights.

        `a` is `(n, n_conditional)` or None, `responses` holds `(n, n_classes_i)` for each factor.
        The features are `(n, n_features)`, the weights `(n, n_queries, n_factors + 1)` or None; the
        last weight is that of no factor.
        """
        queries = self.offset.expand(n_windows, -1, -1)
        if a is not None:
            queries = queries + within_reach(a).unsqueeze(-1) * self.direction
        if not responses:
            return queries.flatten(1), None
        tokens = torch.stack(
            [r @ tokens for r, tokens in zip(responses, self.class_tokens, strict=True)], dim=1
        )
        attended, weights = self.attention(queries, tokens)
        return (queries + attended).flatten(1), weights


class Attention(nn.Module):
    """Multi-head attention of queries over tokens, and over an all-zero one beside them.

    Its parameters are those of `torch.nn.MultiheadAttention`, which would draw them from the global
    generator. There are few tokens and many windows, so one product for each window serves all
    heads: a token has one key and one value for each head, zero in the dimensions of the others.
    """

    def __init__(self, embed_dim: int, n_heads: int):
        super().__init__()
        self.embed_dim, self.n_heads = embed_dim, n_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * embed_dim))
        self.out_proj = Linear(embed_dim, embed_dim)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the projections of queries, keys and values from `generator`."""
        nn.init.xavier_uniform_(self.in_proj_weight, generator=generator)
        nn.init.zeros_(self.in_proj_bias)

    def forward(
        self, queries: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return attended values `(n, n_queries, embed_dim)` and weights.

        `queries` are `(n, n_queries, embed_dim)`, `tokens` `(n, n_tokens, embed_dim)`; the weights
        are means over the heads, `(n, n_queries, n_tokens + 1)`.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        queries, keys, values = (
            nn.functional.linear(inputs, *projection)
            for inputs, *projection in zip((queries, tokens, tokens), weights, biases, strict=True)
        )
        keys, values = self._by_head(keys), self._by_head(values)
        scores = queries @ (keys * (self.embed_dim // self.n_heads) ** -0.5).mT
        scores = scores.unflatten(2, (tokens.shape[1], self.n_heads))
        attention = nn.functional.pad(scores, (0, 0, 0, 1)).softmax(2)  # an all-zero key scores 0
        attended = attention[:, :, :-1].flatten(2) @ values
        return self.out_proj(attended), attention.mean(3)

    def _by_head(self, projected: torch.Tensor) -> torch.Tensor:
        """Give every head a copy, zero elsewhere, `(n, n_tokens * n_heads, embed_dim)`."""
        one = torch.eye(self.n_heads, dtype=projected.dtype, device=projected.device)
        own = one.repeat_interleave(self.embed_dim // self.n_heads, dim=1)
        return (projected.unsqueeze(2) * own).flatten(1, 2)
