"""What fuzzing feeds: for each kind of input from outside, a function that takes its bytes to the printed answer.

`run` tells whether an input was read, False where it was refused by a SizerError of one short line; anything else that
is raised is a bug. `tools/fuzz.py` mutates inputs for as long as asked, `tests/test_fuzz.py` replays those it kept.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from headerfiles import LLAMA, BytesSource, data_bytes, gguf_bytes, llama_tensors, safetensors_bytes

from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.check import checked, launched
from sizer.api.estimates import estimates
from sizer.benchmark.load.figures import tpot_s
from sizer.benchmark.server_backend import ask
from sizer.benchmark.sse import Server, ServerGone, Token, _events
from sizer.calibrate.measurements import stream_measurements
from sizer.calibrate.predictions import predict_rows
from sizer.calibrate.row_files import open_rows
from sizer.calibrate.sweep import PREDICTED_COLUMNS, narrow_row, wide_row
from sizer.calibrate.validate import as_json, validate
from sizer.cli.estimate import document_of
from sizer.device.catalogue import find
from sizer.errors import SizerError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read.headers import Header
from sizer.model.read.headers_gguf import parse as parse_gguf
from sizer.model.read.headers_gguf_model import gguf_model
from sizer.model.read.headers_safetensors import parse as parse_safetensors
from sizer.model.read.headers_safetensors import parse_index
from sizer.model.read.headers_torch_model import torch_model
from sizer.model.read.hub import _parsed
from sizer.model.read.names import parse_name
from sizer.model.read.resolve import FILES_ALLOWED, Resolved
from sizer.model.stored import Stored
from sizer.plain_json import dumps
from sizer.printable import printable
from sizer.report.check import check_document
from sizer.report.outputs import FORMATS, Stream, write, write_stream
from sizer.report.validation import render as render_validation

LONGEST_REFUSAL = 2100
_ZEROS = bytes(2**22)


def read_config(data: bytes) -> None:
    """A config.json: its architecture, and estimates of it in every format."""
    _answer(build(_parsed(data, "fuzzed"), "fuzzed", Basis.CONFIG), None)


def read_gguf(data: bytes) -> None:
    """The header of a GGUF file."""
    header = parse_gguf(BytesSource("fuzzed", data))
    _check_header(header, data)
    _answer(*gguf_model(header, "fuzzed"))


def read_gguf_head(data: bytes) -> None:
    """The same of a file whose tensors, left out, are some megabytes of zeros: what a fuzzer mutates stays small."""
    read_gguf(data + _ZEROS)


def read_safetensors(data: bytes) -> None:
    """The header of a safetensors file."""
    header = parse_safetensors(BytesSource("fuzzed", data))
    _check_header(header, data)
    _answer(*torch_model(header, "fuzzed", None))


def read_index(data: bytes) -> None:
    """The index of a sharded checkpoint."""
    parse_index(BytesSource("fuzzed", data))


def read_rows(data: bytes) -> None:
    """A table of rows, CSV, JSON Lines or an array: swept in every format, and validated."""
    with tempfile.NamedTemporaryFile(suffix=".rows", dir=_memory_folder()) as file:
        file.write(data)
        file.flush()
        rows = open_rows(Path(file.name))
        found = list(predict_rows(stream_measurements(rows), with_flagged=True))
        columns = tuple(dict.fromkeys((*rows.columns, *PREDICTED_COLUMNS)))
        for style in FORMATS:
            pairs = ((wide_row(row), narrow_row(row)) for row in found)
            _check_text("\n".join(write_stream(Stream(columns, pairs), style)))
        result = validate(predict_rows(stream_measurements(rows)))
        _check_text(render_validation(result) + dumps(as_json(result)))


def read_stream(data: bytes) -> None:
    """The events that a server streams, which arrive in pieces of as many bytes as the first byte says."""
    piece, body = 1 + data[0] if data else 1, io.BytesIO(data[1:])

    class Fed(Server):
        def stream(self, model: str, content: object, output_tokens: int) -> Iterator[Token]:
            yield from _events(_Body(body, piece), output_tokens)  # type: ignore[arg-type]

    try:
        reply = ask(Fed("http://localhost"), "fuzzed", "words", 16)
    except ServerGone:
        return
    assert reply.run.prefill_s >= 0
    assert tpot_s(reply) >= 0


def read_command(data: bytes) -> None:
    """An engine's command line or script: its verdict in every format."""
    found = checked(launched([data.decode("utf-8", "surrogateescape")], DeviceAsked(names=("rtx-4090",)), offline=True))
    for style in FORMATS:
        _check_text(write(check_document(found), style))


KINDS: Mapping[str, Callable[[bytes], None]] = {
    "config": read_config,
    "gguf": read_gguf,
    "gguf-head": read_gguf_head,
    "safetensors": read_safetensors,
    "index": read_index,
    "rows": read_rows,
    "stream": read_stream,
    "command": read_command,
}


def run(kind: str, data: bytes) -> bool:
    """Whether an input of a kind was read, False where it was refused in one line. Raises whatever is a bug."""
    allowed = FILES_ALLOWED.set(False)
    try:
        KINDS[kind](data)
    except SizerError as error:
        line = str(error)
        if "\n" in line or len(line) > LONGEST_REFUSAL:
            raise AssertionError(f"a refusal of {len(line)} characters: {line[:200]!r}") from error
        return False
    finally:
        FILES_ALLOWED.reset(allowed)
    return True


class _Body:
    """A response whose body comes in pieces."""

    def __init__(self, body: io.BytesIO, piece: int) -> None:
        self._body, self._piece = body, piece

    def read1(self, most: int) -> bytes:
        return self._body.read(min(most, self._piece))


def _answer(architecture: Architecture, stored: Stored | None) -> None:
    """Estimates of a model that was read, as every door gives them."""
    resolved = Resolved("fuzzed", architecture, stored, parse_name("fuzzed"))
    found = list(estimates(resolved, _target(), WorkAsked(precisions=() if stored else ("bf16", "q4_k_m"))))
    for item in found:
        assert item.footprint.total_bytes >= item.footprint.weights.size_bytes >= 0
        if item.speed is not None:
            assert 0 < item.speed.decode.tokens_per_s < inf
            assert 0 < item.speed.prefill.ttft_s < inf
    for style in FORMATS:
        _check_text(write(document_of([[found]], explain=False), style))
    _check_text(write(document_of([[found]], explain=True), "table"))


@cache
def _target() -> Any:
    return find("rtx-4090")


@cache
def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _check_text(text: str) -> None:
    """What is printed can be encoded, and no figure is NaN."""
    printable(text).encode("utf-8")
    assert not re.search(r"\bnan( ?%| tok| GiB)", text)


def _check_header(header: Header, data: bytes) -> None:
    """What an accepted header promises: its tensors fit into the file, under one name each."""
    if data_bytes(header) > len(data) or any(tensor.size_bytes < 0 for tensor in header.tensors):
        raise AssertionError("tensors are larger than their file")
    if len({tensor.name for tensor in header.tensors}) != len(header.tensors):
        raise AssertionError("two tensors have one name")


CHECKPOINT = {
    "model.embed_tokens.weight": ("BF16", (10, 8)),
    "model.layers.0.self_attn.q_proj.qweight": ("I32", (1, 8)),
    "model.layers.0.self_attn.q_proj.scales": ("F16", (1, 8)),
    "model.layers.0.self_attn.q_proj.qzeros": ("I32", (1, 1)),
    "model.layers.0.self_attn.k_proj.weight": ("F8_E4M3", (8, 8)),
    "model.layers.0.self_attn.k_proj.weight_scale_inv": ("F32", (1, 1)),
    "model.layers.0.mlp.experts.0.w1.weight": ("U8", (32, 1)),
    "model.layers.0.mlp.experts.0.w1.weight.absmax": ("F32", (1,)),
    "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (2, 4, 1, 16)),
    "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", (2, 4, 1)),
    "lm_head.weight": ("U32", (4, 8)),
    "lm_head.scales": ("BF16", (4, 1)),
    "lm_head.biases": ("BF16", (4, 1)),
}
MIXTRAL = LLAMA | {"llama.expert_count": 4, "llama.expert_used_count": 2}
HEADERS = (
    ("gguf", gguf_bytes(LLAMA, llama_tensors())),
    ("gguf", gguf_bytes(MIXTRAL, llama_tensors(4))),
    ("safetensors", safetensors_bytes(CHECKPOINT)),
    ("index", b'{"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}'),
)
"""Valid files to begin with, by kind."""
