"""What a benchmark can run a model with: one record a backend, and what each has and lacks."""

from __future__ import annotations

from sizer.frozen import NamedTuple


class Backend(NamedTuple):
    """One backend; where sizer starts it, its name is its engine's.

    `module` has its `run(spec, stage) -> Outcome`, and `run_cells` where it measures several in one load. `starts` says
    that sizer loads the model itself, on this machine. `lacks` are the fields of `Asked` that it cannot be asked for.
    `takes_revisions` says that it loads a hub repository at a revision. `tokens_of_prefill` are the tokens that a
    prefill's time covers beside the prompt. `kv_precision` is the cache's format where the weights tell none.
    """

    name: str
    module: str
    starts: bool = True
    lacks: frozenset[str] = frozenset()
    takes_revisions: bool = False
    tokens_of_prefill: int = 1
    kv_precision: str = "fp16"


TRANSFORMERS = Backend(
    "transformers", "sizer.benchmark.transformers_backend", takes_revisions=True, kv_precision="bf16"
)
LLAMA_CPP = Backend(
    "llama.cpp",
    "sizer.benchmark.llama_cpp_backend",
    lacks=frozenset({"compiled", "parallelism", "random_weights", "batch_size"}),
    tokens_of_prefill=0,  # its own timing ends before any token is made; elsewhere the first one ends it
)
SERVER = Backend("server", "sizer.benchmark.server_backend", starts=False)
BACKENDS = {backend.name: backend for backend in (TRANSFORMERS, LLAMA_CPP, SERVER)}


def tokens_of_prefill(backend: str) -> int:
    """Tokens that a prefill's time covers beside the prompt; a server's where the backend is not one of ours."""
    return BACKENDS.get(backend, SERVER).tokens_of_prefill
