"""safetensors and GGUF headers: the packages' own files are read right, hostile ones are refused in small memory."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fuzz_targets import HEADERS, run
from headerfiles import (
    EXTREMES,
    LLAMA,
    TYPE_IDS,
    BytesSource,
    data_bytes,
    gguf_bytes,
    llama_tensors,
    mutate,
    safetensors_bytes,
    safetensors_header,
    text,
    value,
    with_header,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidHeader
from sizer.model.read import headers_safetensors
from sizer.model.read.headers import FileSource, Header
from sizer.model.read.headers_gguf import GGML_TYPES, read_split
from sizer.model.read.headers_gguf import parse as parse_gguf
from sizer.model.read.headers_safetensors import parse, parse_index, read_indexed, read_shards, sibling_shards

CORPUS = Path(__file__).parent.parent / "data" / "headers"
TENSORS = {"a": ("F16", (2, 3)), "b": ("BF16", (4,)), "c": ("F32", (0, 5))}


def read(data: bytes) -> Header:
    """The header of bytes, by their kind."""
    source = BytesSource("file", data)
    return parse_gguf(source) if data[:4] == b"GGUF" else parse(source)


def refused(data: bytes, words: str) -> None:
    """The bytes must be refused, with words that say why, and a name."""
    with pytest.raises(InvalidHeader, match=words) as caught:
        read(data)
    assert "'file'" in str(caught.value)


def test_safetensors_equals_the_package(tmp_path: Path) -> None:
    """Names, types, shapes and bytes are those that the safetensors package wrote."""
    import numpy as np
    from safetensors.numpy import save_file

    arrays = {
        "x": np.zeros((3, 5), np.float16),
        "y.z": np.zeros((7,), np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.zeros((), np.float32),
    }
    save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "pt"})
    header = parse(FileSource(tmp_path / "m.safetensors"))
    assert {tensor.name: (tensor.shape, tensor.size_bytes) for tensor in header.tensors} == {
        name: (array.shape, array.nbytes) for name, array in arrays.items()
    }
    assert header.metadata == {"format": "pt"}
    assert header.file_bytes == (tmp_path / "m.safetensors").stat().st_size


def test_gguf_equals_the_package(tmp_path: Path) -> None:
    """Names, shapes, types, bytes and metadata are those that the gguf package wrote, whatever lies between."""
    import gguf
    import numpy as np

    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_head_count_kv([1, 2])
    writer.add_float32("llama.scale", 0.5)
    writer.add_token_list(["token", "é", ""] * 3000)
    writer.add_token_scores([0.5] * 9000)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_tensor("f", np.zeros((3, 4), np.float32))
    writer.add_tensor("h", np.zeros((2, 3, 4), np.float16))
    for kind in (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q6_K, gguf.GGMLQuantizationType.IQ4_XS):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor(kind.name, np.zeros((5, 2 * size), np.uint8), raw_dtype=kind)
        assert block
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = parse_gguf(FileSource(path))
    reader = gguf.GGUFReader(path)
    assert [(tensor.name, tensor.shape, tensor.size_bytes) for tensor in header.tensors] == [
        (tensor.name, tuple(int(n) for n in reversed(tensor.shape)), tensor.n_bytes) for tensor in reader.tensors
    ]
    assert header.metadata["llama.attention.head_count_kv"] == [1, 2]
    assert header.metadata["llama.scale"] == 0.5
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert header.metadata["tokenizer.ggml.tokens"] is None


def test_ggml_types_are_the_packages() -> None:
    """Every type number of the gguf package has the same name here; newer ones may be known besides."""
    import gguf

    names = {int(kind): kind.name.lower() for kind in gguf.GGMLQuantizationType}
    plain = {"f32": "fp32", "f16": "fp16", "f64": "fp64"}
    assert {number: plain.get(name, name) for number, name in names.items()}.items() <= GGML_TYPES.items()


def test_big_endian_and_version_two(tmp_path: Path) -> None:
    """A big-endian file of the gguf package, and a file that says version 2, are read."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "b.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_block_count(3)
    writer.add_tensor("f", np.zeros((3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = parse_gguf(FileSource(tmp_path / "b.gguf"))
    assert header.metadata["llama.block_count"] == 3
    assert header.tensors[0].shape == (3, 4)
    second = bytearray(gguf_bytes(LLAMA, llama_tensors()))
    second[4] = 2
    assert len(read(bytes(second)).tensors) == len(llama_tensors())


def entry(**changes: Any) -> dict[str, Any]:
    """A file's fields with one tensor of 24 bytes, changed."""
    return {"t": {"dtype": "F16", "shape": [3, 4], "data_offsets": [0, 24]} | changes}


HOSTILE_SAFETENSORS = [
    (b"", "0 bytes"),
    (b"\x01\x00", "2 bytes"),
    (struct.pack("<Q", 2**63) + b"{}", f"declares a header of {2**63}"),
    (struct.pack("<Q", 3) + b"{}", "declares a header of 3"),
    (with_header("[]", 0), "no JSON object"),
    (with_header("{", 0), "Expecting"),
    (with_header(b'{"\xff": 1}', 0), "UTF-8"),
    (with_header('{"a":' * 5000 + "1" + "}" * 5000, 0), "no table|deep"),
    (with_header('{"a":' * 200 + "0" * 30000 + "}" * 200, 0), "Expecting|JSON"),
    (with_header('{"t": {"dtype":"F16","shape":[NaN],"data_offsets":[0,0]}}', 0), "NaN is no JSON"),
    (with_header('{"t": {"dtype":"F16","shape":[1e999],"data_offsets":[0,2]}}', 2), "shape"),
    (
        with_header('{"t": {"dtype":"F16","shape":[' + "9" * 5000 + '],"data_offsets":[0,2]}}', 2),
        "5000 digits",
    ),
    (with_header('{"t": 1, "t": 2}', 0), "twice"),
    (with_header(json.dumps(entry())[:-2] + ', "dtype": "F16"}}', 24), "twice"),
    (with_header({"t": [1]}, 0), "no JSON object"),
    (with_header({"": entry()["t"]}, 24), "no tensor name"),
    (with_header({"a\u001b[31m": entry()["t"]}, 24), "no tensor name"),
    (with_header(entry(dtype="F17"), 24), "unknown type 'F17'"),
    (with_header(entry(dtype=["F16"]), 24), "unknown type"),
    (with_header(entry(shape=[3, -4]), 24), "shape"),
    (with_header(entry(shape=[3, 4.0]), 24), "shape"),
    (with_header(entry(shape=[True, 12]), 24), "shape"),
    (with_header(entry(shape="34"), 24), "shape"),
    (with_header(entry(shape=[2**40, 2**40]), 24), "takes"),
    (with_header(entry(shape=[1] * 17), 24), "shape"),
    (with_header(entry(shape=[3, 5]), 24), "takes 30 bytes, not 24"),
    (with_header(entry(data_offsets=[24, 0]), 24), "takes"),
    (with_header(entry(data_offsets=[0]), 24), "data_offsets"),
    (with_header(entry(data_offsets=[0, 2**64]), 24), "data_offsets"),
    (with_header(entry(), 20), "ends at byte 24 of 20"),
    (with_header(entry(), 30), "the file holds 30"),
    (with_header(entry(data_offsets=[2, 26]), 26), "hole"),
    (with_header(entry() | {"u": entry()["t"]}, 24), "overlaps"),
    (with_header(entry() | {"__metadata__": {"a": 1}}, 24), "__metadata__"),
    (with_header(entry() | {"__metadata__": "a"}, 24), "__metadata__"),
    (with_header('{"a":' + "[[]," * 2_000_000 + "[]" + "]" * 2_000_000 + "}", 0), "no table"),
    (with_header('{"a":[' + "1," * 4_000_000 + "1]}", 0), "no table"),
]


@pytest.mark.parametrize(("data", "words"), HOSTILE_SAFETENSORS, ids=range(len(HOSTILE_SAFETENSORS)))
def test_hostile_safetensors_are_refused(data: bytes, words: str) -> None:
    """Each lie that a safetensors header can tell is refused with its reason, in a few times the header's memory."""
    tracemalloc.start()
    try:
        refused(data, words)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 2**20
    finally:
        tracemalloc.stop()


def test_huge_declared_header_is_not_read() -> None:
    """A header of a gigabyte is refused by its length: of the file, eight bytes are read."""

    class Huge:
        name, size_bytes, asked = "file", 2**40, 0

        def read(self, offset: int, length: int) -> bytes:
            self.asked += length
            return struct.pack("<Q", 2**30)[:length]

    source = Huge()
    with pytest.raises(InvalidHeader, match="are allowed"):
        parse(source)
    assert source.asked == 8


def raw_gguf(tensors: int = 0, pairs: int = 0, body: bytes = b"", version: int = 3) -> bytes:
    """A GGUF file with any counts."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + body


def info(name: bytes = b"t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    """A tensor info; the shape in GGUF's order."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


Q4_0 = TYPE_IDS["q4_0"]
HOSTILE_GGUF = [
    (b"GGUF", "ends inside|beyond"),
    (b"GGUF" + struct.pack("<I", 1), "version 1"),
    (raw_gguf(version=7), "version 7"),
    (raw_gguf(tensors=2**63), "declares"),
    (raw_gguf(pairs=2**40), "declares"),
    (raw_gguf(tensors=60_000), "beyond the file's end"),
    (raw_gguf(pairs=1, body=struct.pack("<Q", 2**63) + bytes(30)), "1024 are allowed"),
    (raw_gguf(pairs=1, body=text(b"\xff\xfe") + value(1) + bytes(9)), "not UTF-8"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IQ", 8, 2**63)), "beyond the file's end"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IQ", 8, 9) + b"short"), "beyond the file's end"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<I", 8) + text(b"\xff")), "not UTF-8"),
    (raw_gguf(pairs=2, body=2 * (text("k") + value(1))), "twice"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<I", 99) + bytes(8)), "unknown type 99"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IB", 7, 2)), "truth value"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(20)), "list of lists"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IIQ", 9, 4, 2**62)), "beyond the file's end"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IIQ", 9, 8, 2**62)), "strings"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IIQ", 9, 8, 2) + text("a")), "beyond the file's end"),
    (raw_gguf(pairs=1, body=text("k") + struct.pack("<IIQ", 9, 50, 2) + bytes(8)), "unknown type 50"),
    (raw_gguf(tensors=1, body=info(b"")), "no tensor name"),
    (raw_gguf(tensors=1, body=info(b"a\nb")), "no tensor name"),
    (raw_gguf(tensors=1, body=info(b"\xc3(")), "not UTF-8"),
    (raw_gguf(tensors=1, body=info(shape=(1, 1, 1, 1, 1))), "5 dimensions"),
    (raw_gguf(tensors=1, body=info(shape=(0, 3))), "shape"),
    (raw_gguf(tensors=1, body=info(shape=(2**63, 2**63))), "shape"),
    (raw_gguf(tensors=1, body=info(kind=31)), "unknown type 31"),
    (raw_gguf(tensors=1, body=info(shape=(33,), kind=Q4_0)), "whole number of q4_0 blocks"),
    (raw_gguf(tensors=1, body=info(shape=(32, 2**40))), "cut short"),
    (raw_gguf(tensors=1, body=info(offset=2**63)), "cut short"),
    (raw_gguf(tensors=1, body=info(offset=1) + bytes(500)), "not aligned"),
    (raw_gguf(tensors=2, body=info(b"a") + info(b"b") + bytes(500)), "overlaps"),
    (raw_gguf(tensors=2, body=info(b"a") + info(b"a", offset=128) + bytes(500)), "same name"),
    (raw_gguf(1, 1, text("general.alignment") + value(33) + info() + bytes(500)), "alignment"),
    (raw_gguf(1, 1, text("general.alignment") + value("32") + info() + bytes(500)), "alignment"),
    (gguf_bytes(LLAMA, llama_tensors())[:-32], "cut short"),
]


@pytest.mark.parametrize(("data", "words"), HOSTILE_GGUF, ids=range(len(HOSTILE_GGUF)))
def test_hostile_gguf_is_refused(data: bytes, words: str) -> None:
    """Each lie that a GGUF header can tell is refused with its reason, in a megabyte or two."""
    tracemalloc.start()
    try:
        refused(data, words)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20 + 2 * len(data)
    finally:
        tracemalloc.stop()


def test_long_gguf_values_are_stepped_over() -> None:
    """A text of eight megabytes and a million scores cost no memory: they are not kept."""
    body = text("k") + struct.pack("<IQ", 8, 2**23) + bytes(2**23)
    body += text("s") + struct.pack("<IIQ", 9, 6, 2**20) + bytes(2**22)
    data = raw_gguf(1, 2, body + info() + bytes(256))
    tracemalloc.start()
    header = parse_gguf(BytesSource("file", data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.metadata == {"k": None, "s": None}
    assert peak < 4 * 2**20


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(HEADERS))
@example(0, HEADERS[0])
def test_mutated_files_never_crash(seed: int, kind_and_data: tuple[str, bytes]) -> None:
    """A valid file with random faults is read or refused: no other error, and what is read fits into the file."""
    kind, data = kind_and_data
    run(kind, mutate(data, random.Random(seed)))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(HEADERS), st.integers(0, 600), st.sampled_from(EXTREMES))
def test_extreme_numbers_never_crash(kind_and_data: tuple[str, bytes], at: int, number: int) -> None:
    """The numbers that lengths and products break on, at every place of a header."""
    kind, data = kind_and_data
    run(kind, data[:at] + struct.pack("<Q", number) + data[at + 8 :])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["gguf", "safetensors", "index"]))
def test_random_bytes_never_crash(noise: bytes, kind: str) -> None:
    """Bytes that mean nothing are refused."""
    prefix = {"gguf": b"GGUF\3\0\0\0", "safetensors": struct.pack("<Q", len(noise)), "index": b""}[kind]
    run(kind, prefix + noise)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(["F16", "F32", "BF16", "U8"]), st.lists(st.integers(0, 9), max_size=4)),
        max_size=8,
    )
)
def test_written_headers_come_back(tensors: dict[str, tuple[str, list[int]]]) -> None:
    """What was written is what is read, for any names, types and shapes."""
    header = read(safetensors_bytes(tensors))
    assert {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in header.tensors} == tensors
    assert data_bytes(header) == safetensors_header(tensors)[1]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: path.stem)
def test_corpus_cases_stay_handled(path: Path) -> None:
    """Every case of the corpus is read or refused as its name says."""
    verdict, kind = path.stem.split("-")[:2]
    assert run(kind, path.read_bytes()) is (verdict == "read")


def folder(files: dict[str, bytes]) -> Any:
    """Opens a file of a folder that is a dictionary."""

    def open_file(name: str) -> BytesSource:
        if name not in files:
            raise FileNotFoundError(name)
        return BytesSource(name, files[name])

    return open_file


def test_shards_of_an_index_are_read_together() -> None:
    """An index leads to its shards; bytes are those of all files."""
    one, two = safetensors_bytes({"a": ("F16", (2,))}), safetensors_bytes({"b": ("F16", (3,))})
    files = {"m-1.safetensors": one, "m-2.safetensors": two}
    weight_map = {"a": "m-1.safetensors", "b": "m-2.safetensors"}
    index = BytesSource("index", json.dumps({"weight_map": weight_map}).encode())
    header = read_indexed(index, folder(files))
    assert (header.files, header.file_bytes, data_bytes(header)) == (2, len(one) + len(two), 10)
    with pytest.raises(InvalidHeader, match=r"needs 'm-2\.safetensors', which is missing"):
        read_indexed(index, folder({"m-1.safetensors": one}))
    wrong = BytesSource("index", json.dumps({"weight_map": weight_map | {"c": "m-1.safetensors"}}).encode())
    with pytest.raises(InvalidHeader, match="'c' is in no shard"):
        read_indexed(wrong, folder(files))
    with pytest.raises(InvalidHeader, match="'a' is in two shards"):
        read_shards(["m-1.safetensors", "m-3.safetensors"], folder(files | {"m-3.safetensors": one}), "set")


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "x.bin", "a\\b.safetensors", 5, ["x"]]
)
def test_an_index_cannot_leave_its_folder(shard: Any) -> None:
    """Names that climb out of the folder, or are no safetensors file, are refused before anything is opened."""
    with pytest.raises(InvalidHeader):
        parse_index(BytesSource("index", json.dumps({"weight_map": {"a": shard}}).encode()))


def test_too_many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of more shards than any model has is refused unopened."""
    monkeypatch.setattr(headers_safetensors, "MAX_SHARDS", 2)
    with pytest.raises(InvalidHeader, match="3 shards"):
        read_shards(["a", "b", "c"], folder({}), "set")


def test_numbered_files_find_their_set() -> None:
    """A file of a set names the others; a number beyond the count is refused."""
    assert sibling_shards("m-00002-of-00003.gguf") == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert sibling_shards("model.safetensors") == ["model.safetensors"]
    for name in ("m-00004-of-00003.gguf", "m-00000-of-00000.gguf", "m-00001-of-99999.safetensors"):
        with pytest.raises(InvalidHeader):
            sibling_shards(name)


def test_split_gguf() -> None:
    """Parts of a split file are read together; a part of another split is refused."""
    tensors = llama_tensors()
    names = list(tensors)
    split = {"split.count": 2, "split.tensors.count": len(names)}
    one = gguf_bytes(LLAMA | split | {"split.no": 0}, {name: tensors[name] for name in names[:5]})
    two = gguf_bytes(split | {"split.no": 1}, {name: tensors[name] for name in names[5:]})
    header = read_split(["1", "2"], folder({"1": one, "2": two}), "set")
    whole = read(gguf_bytes(LLAMA, tensors))
    assert (header.tensors, header.files) == (whole.tensors, 2)
    with pytest.raises(InvalidHeader, match=r"split\.no is 1 of 2 by its header, 0 of 2 by its name"):
        read_split(["2", "1"], folder({"1": one, "2": two}), "set")
    short = gguf_bytes(split | {"split.no": 1}, {name: tensors[name] for name in names[6:]})
    with pytest.raises(InvalidHeader, match="are declared"):
        read_split(["1", "2"], folder({"1": one, "2": short}), "set")
