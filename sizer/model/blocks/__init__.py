"""Parts of a model as tensor lists: what the families are composed of.

`core` holds the record `Block` (tensors, mixers, MLP kind), single tensors (`linear`, `norm`, `embedding`,
`parameter`), `prefixed` and `stack` (layers of a few kinds, each kind built once). `attention` and `mlp` build on it;
each function returns a `Block` that `+` joins: `attention(...) + gated_mlp(...) + norm(...)` is a decoder layer.
`towers` holds the encoders of images and sound, each written down as the module tree that it is (`tree`).
"""
