"""Which tensor is stored how: formats, schemes and GGUF mixtures, to the byte."""
