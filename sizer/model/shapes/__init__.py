"""The grammar that families are written in: what a layer, a decoder, a wrapper is, by its differences from the usual.

`rules` and `windows` say what a config makes of attention and MLP, `experts`, `latent` and `hybrid` what else layers
may hold, `decoder` puts them together. `gpt2`, `bert` and `bart` are whole shapes that many makers share. `wrapper` and
`connectors` join towers to a text model.
"""
