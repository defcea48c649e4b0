"""Files of measurements: how they are read, resolved, predicted, compared and fitted."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sizer.calibrate.heldout import Residual, errors, quantile
from sizer.calibrate.intervals import conformal_bounds, held_in_bounds, judged, stretch_by_engine
from sizer.calibrate.measurements import ReadRow, measurement, read_measurements
from sizer.calibrate.observation import Observation
from sizer.calibrate.observations import observe, observe_row, placed
from sizer.calibrate.predictions import predict_rows
from sizer.calibrate.rows import resolve_measurement, row_precision, workloads
from sizer.calibrate.verification import read_verification
from sizer.cli.calibrate import command as calibrate_command
from sizer.cli.sweep import command as sweep_command
from sizer.cli.validate import command as validate_command
from sizer.engine.engines import engines
from sizer.errors import InvalidInputFile, SizerError, UnknownPrecision, UsageError
from sizer.precision.names import canonical
from sizer.report.misfits import explained
from sizer.speed.law import constants
from sizer.speed.predict import OTHER_ENGINES, decode_of, prefill_of
from sizer.tables import data_path, read_rows

ROW = {
    "id": "a-1", "model": "meta-llama/Meta-Llama-3-8B", "device": "NVIDIA GeForce RTX 4090", "precision": "q4_k_m",
    "engine": "llama.cpp", "backend": "cuda", "prompt_tokens": "512", "context_tokens": "0", "output_tokens": "128",
    "metric": "decode", "decode_tokens_per_s": "130", "prefill_tokens_per_s": "7000",
}  # fmt: skip

GROUPS = {"bits": "bits: 4bit", "backend": "backend: vllm cuda", "era": "era: vllm 2026"}


def _csv(path: Path, *rows: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _validate(path: Path) -> dict[str, object]:
    result = CliRunner().invoke(validate_command, [str(path), "--json"], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_csv_and_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    """Both formats hold the same columns; a byte-order mark and blank lines do not matter."""
    table = _csv(tmp_path / "rows.csv", ROW)
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\ufeff" + json.dumps(ROW) + "\n\n", encoding="utf-8")
    assert read_measurements(table)[0].decode_tokens_per_s == read_measurements(lines)[0].decode_tokens_per_s == 130


@pytest.mark.parametrize("text", ["{not json", "[1, 2]", "a,b\n1,2\n", "\x00\x01"])
def test_a_file_that_is_no_table_is_an_error_of_its_own(tmp_path: Path, text: str) -> None:
    """Broken JSON, values that are no objects and a CSV without the needed columns are refused with the reason."""
    path = tmp_path / "broken"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputFile):
        read_measurements(path)


def test_a_missing_file_is_an_error() -> None:
    """No traceback for a path that is no file."""
    with pytest.raises(InvalidInputFile, match="no file"):
        read_measurements(Path("nowhere.csv"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.json"])
def test_an_empty_file_is_told(tmp_path: Path, name: str) -> None:
    """A file without a byte, as a command that failed leaves it, is said to be empty and not to lack a column."""
    path = tmp_path / name
    path.touch()
    with pytest.raises(InvalidInputFile, match="is empty"):
        read_measurements(path)


@pytest.mark.parametrize("cell", ["fast", "-3", "nan", "inf", "1e400"])
def test_garbage_numbers_are_a_stated_reason(tmp_path: Path, cell: str) -> None:
    """A cell that is no number skips its row, and the reason quotes the cell."""
    document = _validate(_csv(tmp_path / "rows.csv", {**ROW, "decode_tokens_per_s": cell}, {**ROW, "id": "a-2"}))
    assert document["scored"] == 1
    [skipped] = document["skipped"]  # type: ignore[misc]
    assert cell in skipped["reason"]


def test_unknown_names_are_skipped_with_the_users_text(tmp_path: Path) -> None:
    """An unknown device, precision or engine skips the row and says which."""
    rows = [{**ROW, "id": f"b-{column}", column: "Foo 9"} for column in ("device", "precision", "engine")]
    document = _validate(_csv(tmp_path / "rows.csv", *rows))
    assert document["scored"] == 0
    assert all("Foo 9" in one["reason"] for one in document["skipped"])  # type: ignore[attr-defined]


def test_cards_of_a_source_share_the_link_that_it_tells() -> None:
    """Several cards of such a source; of another, the card's own slot; one card shares nothing."""
    cards = {**ROW, "engine": "vllm", "precision": "bf16", "device": "RTX 3090", "device_count": "4"}
    told = resolve_measurement(measurement({**cards, "id": "lotto3090-1"})).target
    other = resolve_measurement(measurement({**cards, "id": "other-1"})).target
    assert (told.link, other.link) == ("PCIe 3.0 x16", "PCIe 4.0 x16")
    assert told.link_bytes_per_s == pytest.approx(15.8e9)
    assert other.link_bytes_per_s == pytest.approx(31e9)
    one = resolve_measurement(measurement({**cards, "id": "lotto3090-1", "device_count": "1"})).target
    assert one.link == ""


def test_engine_flags_are_read_as_the_command_line_reads_them() -> None:
    """The columns engine, engine_version and engine_flags are one `--engine`; a bad flag is the row's reason."""
    given = {**ROW, "engine": "llama.cpp", "engine_version": "b8000", "engine_flags": "-ctk q8_0 -ctv q8_0 -ub 1024"}
    resolved = resolve_measurement(measurement(given))
    assert (resolved.options.version, resolved.options.prefill_chunk_tokens) == ("b8000", 1024)
    assert resolved.decoding.kv_precision == "q8_0"
    inline = resolve_measurement(measurement({**ROW, "engine": "llama.cpp@b8000 -ctk q8_0 -ctv q8_0 -ub 1024"}))
    assert inline.options.settings == resolved.options.settings
    with pytest.raises(UsageError, match="--ubatch-size"):
        resolve_measurement(measurement({**given, "engine_flags": "--ubatch-size some"}))


def test_validation_has_the_documented_keys(tmp_path: Path) -> None:
    """The JSON of a validation has the keys, quantities and ratios that the contract names."""
    document = _validate(_csv(tmp_path / "rows.csv", {**ROW, "memory_gib": "5.5", "extra": "kept"}))
    assert {"schema_version", "rows", "scored", "skipped", "decode", "prefill", "memory", "by", "predictions"} <= set(
        document
    )
    assert {one["quantity"] for one in document["predictions"]} == {"decode", "prefill", "memory"}  # type: ignore[attr-defined]
    decode = document["decode"]
    assert set(decode) == {"n", "median_ape", "p90_ape", "bias", "coverage"}  # type: ignore[call-overload]
    assert {"engine", "device_kind", "moe"} <= set(document["by"])  # type: ignore[call-overload]


def test_counts_alone_are_enough(tmp_path: Path) -> None:
    """A model that nobody knows is predicted from the row's parameter counts; without them it is skipped."""
    known = {**ROW, "model": "someone/Nameless", "total_params_b": "30.5", "active_params_b": "3.3"}
    document = _validate(_csv(tmp_path / "rows.csv", known, {**ROW, "id": "a-2", "model": "someone/Nameless"}))
    assert document["scored"] == 1


def test_sweep_passes_unknown_columns_through(tmp_path: Path) -> None:
    """A swept row keeps its own cells and gains the predictions."""
    path = _csv(tmp_path / "rows.csv", {**ROW, "mine": "7"}, {**ROW, "id": "a-2", "device": "Foo 9"})
    result = CliRunner().invoke(sweep_command, [str(path), "--format", "csv"], catch_exceptions=False)
    first, second = csv.DictReader(result.stdout.splitlines())
    assert first["mine"] == "7"
    assert float(first["predicted_decode_tokens_per_s"]) > 0
    assert "Foo 9" in second["reason"]


def test_request_rows_read_their_prompt_first() -> None:
    """A decode row starts at its context, a request at its prompt."""
    decode, _ = workloads(measurement({**ROW, "context_tokens": "4096"}))
    request, _ = workloads(measurement({**ROW, "metric": "request", "prompt_tokens": "1000"}))
    assert decode.prompt_tokens == 4096
    assert request.prompt_tokens == 1000


def test_rows_of_random_tokens_are_routed_alike() -> None:
    """A table of a benchmark that feeds random tokens says so by its source; its prompts are whole texts to a cache,
    and two tables that differ in nothing else are told apart."""
    row = {"model": "Qwen/Qwen3-30B-A3B", "precision": "q8_0", "engine": "llama.cpp", "device": "gb10", "batch": "32"}
    random, texts = (measurement({**row, "id": name, "decode_tokens_per_s": "300"}) for name in ("lcpp-dgx-1", "own-1"))
    assert [workloads(one)[0].routed_alike for one in (random, texts)] == [0.35, 1.0]
    assert workloads(random)[1].routed_alike == 1.0
    first, second = (found.predictions[0].predicted for found in predict_rows([random, texts], with_flagged=True))
    assert first > 1.1 * second


def test_threads_of_a_prompt_are_the_rows() -> None:
    """A row's threads read its prompt too, but where its source reads prompts with all cores."""
    for source, threads in (("issues", 4), ("ik164", None)):
        decode, prompt = workloads(measurement({**ROW, "id": f"{source}-0001", "threads": "4"}))
        assert (decode.threads, prompt.threads) == (4, threads)


def test_nearly_every_measured_row_resolves() -> None:
    """At least 95 % of the decode rows without an excluding flag resolve to a model, a device and a precision."""
    from sizer.calibrate.measurements import EXCLUDING_FLAGS

    rows = [row for row in read_measurements(data_path("measurements.csv")) if row.decode_tokens_per_s]
    rows = [row for row in rows if not row.flags & EXCLUDING_FLAGS]
    assert sum(not _resolves(row) for row in rows) <= 0.05 * len(rows)


@pytest.mark.parametrize(
    ("engine", "precision"), [("llama.cpp", "q4_k_m"), ("ollama", "q4_k_m"), ("vllm", "bf16"), ("transformers", "nf4")]
)
def test_what_the_devices_hold_is_timed_alike_without_being_placed(engine: str, precision: str) -> None:
    """A sweep knows from the memory that a model fits: its steps take what they take where it is placed."""
    row = measurement({**ROW, "engine": engine, "backend": "", "precision": precision})
    resolved = resolve_measurement(row)
    (decoding, reading), (placed_decoding, placed_reading) = placed(resolved, whole=True), placed(resolved)
    assert placed_decoding.placement is not None
    assert placed_decoding.placement.whole
    assert decode_of(decoding, constants())[0] == decode_of(placed_decoding, constants())[0]
    assert prefill_of(reading, constants())[0] == prefill_of(placed_reading, constants())[0]


def _resolves(row: ReadRow) -> bool:
    try:
        resolve_measurement(row)
    except SizerError:
        return False
    return True


def test_conformal_bounds_hold_their_share() -> None:
    """Of exchangeable rows, at least the asked share lies within the bounds, and not all of many do."""
    values = [number / 999 for number in range(1000)]
    low, high = conformal_bounds(values)
    inside = sum(low <= value <= high for value in values) / len(values)
    assert 0.9 <= inside <= 0.91


def test_rows_do_not_set_the_bounds_that_hold_them() -> None:
    """A fold that errs unlike all others needs its bounds stretched far, and most others lie inside as they are."""
    base = Observation("0", "decode", "s", "d", "m", "vllm", "nvidia-hbm", False, 1.0, (), GROUPS)
    ordinary = [Residual(replace(base, id=str(n)), n % 100 / 1000, "engine", n % 5) for n in range(300)]
    strange = [Residual(replace(base, id=f"x{n}"), 2.0, "engine", 5) for n in range(300)]
    needed = [stretch for stretch, _ in judged({"device": [*ordinary, *strange]})["device"]]
    assert min(needed[300:]) > 10
    assert sum(stretch <= 1 for stretch in needed[:300]) > 250


def test_stretches_hold_their_share_of_each_engine() -> None:
    """An engine whose folds err alike is stretched more, until at least nine of ten of its rows lie inside."""
    base = Observation("0", "decode", "s", "d", "m", "vllm", "nvidia-hbm", False, 1.0, (), GROUPS)
    scatter = [(number * 37 % 101 - 50) / 1000 for number in range(300)]
    rows = [Residual(replace(base, id=f"v{n}"), error, "none", n % 6) for n, error in enumerate(scatter)]
    rows += [
        Residual(replace(base, id=f"s{n}", engine="sglang"), error + (n % 6 - 2.5) / 10, "none", n % 6)
        for n, error in enumerate(scatter)
    ]
    rows += [Residual(replace(base, id=f"r{n}", engine="rare"), scatter[n], "none", n % 6) for n in range(60)]
    stretches = stretch_by_engine({"device": rows})
    assert set(stretches) == {"vllm", "sglang", OTHER_ENGINES}
    assert stretches["sglang"][0] > stretches["vllm"][0]
    inside = held_in_bounds({"device": rows})["device"]
    for engine in ("vllm", "sglang", "rare"):
        held = [one for row, (one, _) in zip(rows, inside, strict=True) if row.row.engine == engine]
        assert 0.9 <= sum(held) / len(held) <= 0.95


def test_errors_are_symmetric_in_nothing_but_their_definition() -> None:
    """Twice too fast is an error of 1, twice too slow one of one half."""
    assert errors([-0.6931471805599453]).median_ape == pytest.approx(1.0)
    assert errors([0.6931471805599453]).median_ape == pytest.approx(0.5)
    assert quantile([0.0, 1.0], 0.25) == 0.25


def _synthetic(path: Path) -> Path:
    """Rows of a made-up engine law: 0.8 of nominal bandwidth, on several devices and models."""
    from sizer.device.catalogue import find

    rows = []
    names = "rtx-3090 rtx-4090 rtx-3060-12gb rtx-a6000 rtx-4070 rtx-3070 rtx-4070-ti rtx-6000-ada rtx-5000-ada rtx-4080"
    for number, device in enumerate(names.split()):
        rate = find(device).device.bandwidth_bytes_per_s or 0
        for model, size in (("meta-llama/Llama-2-7b-hf", 3.82e9), ("meta-llama/Llama-2-13b-hf", 7.37e9)):
            speed = str(0.8 * rate / size)
            row = {**ROW, "id": f"s{number % 2}-{len(rows)}", "model": model, "device": device, "precision": "q4_0"}
            rows.append({**row, "decode_tokens_per_s": speed, "prefill_tokens_per_s": "5000"})
    return _csv(path, *rows)


def test_fit_recovers_a_law_and_is_the_same_twice(tmp_path: Path) -> None:
    """Constants fitted to rows that follow the law predict a held-out device closely; the same file, the same text."""
    pytest.importorskip("scipy")
    path = _synthetic(tmp_path / "rows.csv")
    texts = []
    for name in ("one.json", "two.json"):
        result = CliRunner().invoke(calibrate_command, [str(path), "-o", str(tmp_path / name)], catch_exceptions=False)
        assert "one device left out" in result.stdout
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    from sizer.calibrate.calibration import calibrate

    found = calibrate(read_measurements(path)).residuals["decode"]["device"]
    assert errors([one.log_ratio for one in found]).median_ape < 0.1


def test_committed_constants_name_their_command() -> None:
    """Constants carry the command that writes them, and each effect the rows behind it and how far they scatter."""
    document = json.loads(data_path("constants.json").read_text(encoding="utf-8"))
    assert document["command"].startswith("python tools/calibrate.py")
    effects = [row for term in document["terms"].values() for row in term["effects"]]
    assert all(rows > 0 and spread >= 0 for _group, _value, rows, spread in effects)


def test_memory_of_a_row_is_that_of_its_deepest_cache() -> None:
    """A row that decodes behind 32k tokens takes the memory of that cache, not of its short prompt's."""
    from sizer.calibrate.predictions import predict_rows

    cells = {"model": "Qwen/Qwen3-8B", "device": "rtx-4090", "engine": "llama.cpp", "precision": "q4_k_m"}
    rows = [measurement({**cells, "prompt_tokens": 512, "context_tokens": depth}) for depth in (0, 32768)]
    shallow, deep = (
        next(one.predicted for one in row.predictions if one.quantity == "memory")
        for row in predict_rows(rows, with_flagged=True)
    )
    assert deep - shallow > 4 * 2**30


def test_a_part_of_unknown_size_on_the_host_teaches_nothing() -> None:
    """A row that says a part lies on the host while the device holds all of it is left out, with the reason."""
    row = measurement({**ROW, "flags": "offload"})
    (seen, *_) = observe_row(row)
    assert "share is not told" in seen.odd
    assert not observe([row])
    assert not observe_row(measurement(ROW))[0].odd


def test_a_row_runs_with_the_flags_and_the_power_that_it_tells() -> None:
    """The cache's type is that of the flags; a power limit cuts the card's compute and leaves its bandwidth."""
    plain = resolve_measurement(measurement({**ROW, "engine": "llama.cpp", "device": "rtx-3090"}))
    told = {"engine": "llama.cpp", "device": "rtx-3090", "engine_flags": "-ctk q8_0 -ctv q8_0", "power_limit_w": "220"}
    limited = resolve_measurement(measurement({**ROW, **told}))
    assert (plain.decoding.kv_precision, limited.decoding.kv_precision) == ("fp16", "q8_0")
    slow, fast = limited.target.device, plain.target.device
    assert slow.bandwidth_bytes_per_s == fast.bandwidth_bytes_per_s
    assert slow.peak_flops_per_s["fp16"] == pytest.approx(fast.peak_flops_per_s["fp16"] * 220 / 350)


def test_kernels_that_were_replaced_are_not_read(tmp_path: Path) -> None:
    """Of rows of several tokens a step, old kernels are left out, and those that tell neither a rate nor what a
    step costs over one, or that of no format; a cost alone is read as such."""
    columns = "id,engine,model,precision,device,tokens_a_step,context_tokens,tokens_per_s,v,current"
    cells = ("a,llama.cpp,m,q4_0,rtx-3090,4,512,100,,yes", "b,llama.cpp,m,q4_0,rtx-3090,4,512,90,,old",
             "c,llama.cpp,m,q4_0,rtx-3090,4,512,,1.4,yes", "d,llama.cpp,m,,rtx-3090,4,512,,1.4,yes",
             "e,llama.cpp,m,q4_0,rtx-3090,4,512,,,yes")  # fmt: skip
    path = tmp_path / "verify.csv"
    path.write_text("\n".join([columns, *cells]) + "\n", encoding="utf-8")
    found = read_verification(path)
    assert [(row.id, row.decode_tokens_per_s, row.over_one) for row in found] == [("a", 100, None), ("c", None, 1.4)]


def test_each_cluster_of_misses_is_explained_or_said_not_to_be() -> None:
    """The first row of the table that fits a cluster tells; an empty cell fits all; what no row fits is said so."""
    verdicts = {"noise", "bad row", "missing column", "missing physics", "missing data"}
    for row in read_rows("misfits.csv"):
        assert row["verdict"] in verdicts
        told = explained(row["engine"], row["family"] or "any", row["source"])
        assert told == (row["verdict"], row["reason"]), "an earlier row hides this one"
    assert explained("nobody", "nowhere", "none")[0] == "not explained"


def test_a_swept_row_says_whether_it_fits() -> None:
    """Whether the devices hold it whole: unknown where their memory is, or with layers on the host."""
    from sizer.calibrate.predictions import predict_rows
    from sizer.calibrate.sweep import wide_row

    cells = {"model": "Qwen/Qwen3-32B", "engine": "llama.cpp", "precision": "q4_k_m", "context_tokens": 1024}
    asked = [
        ({"device": "rtx-4090"}, True),
        ({"device": "rtx-3060"}, False),
        ({"device": "2xrtx-3060"}, True),
        ({"device": "ryzen-7-7700"}, None),
        ({"device": "rtx-3060", "engine_flags": "-ngl 20"}, None),
    ]
    rows = predict_rows([measurement({**cells, **more}) for more, _ in asked], with_flagged=True)
    for row, (_, fits) in zip(rows, asked, strict=True):
        found = wide_row(row)
        assert found["predicted_fits"] is fits
        assert found["predicted_memory_gib"] > 18


def test_a_swept_encoder_decodes_nothing() -> None:
    """An encoder's row has a prompt's speed and memory, and no decode."""
    from sizer.calibrate.predictions import predict_rows

    cells = {"model": "BAAI/bge-m3", "device": "rtx-4090", "engine": "transformers", "precision": "fp16"}
    (row,) = predict_rows([measurement({**cells, "prompt_tokens": 512})], with_flagged=True)
    assert {one.quantity for one in row.predictions} == {"prefill", "memory"}


def test_an_engine_that_does_not_run_there_is_a_reason_where_nothing_was_measured() -> None:
    """vLLM on a Mac: no figures for a swept row; a measured one ran, and is compared."""
    from sizer.calibrate.predictions import predict_rows

    cells = {"model": "Qwen/Qwen3-8B", "device": "m3-max", "engine": "vllm", "precision": "bf16"}
    rows = [measurement(cells), measurement({**cells, "decode_tokens_per_s": 20})]
    swept, measured = predict_rows(rows, with_flagged=True)
    assert "does not run on" in swept.reason
    assert not measured.reason


def test_what_was_tried_is_told_once() -> None:
    """No trial stands twice in the table."""
    tried = [next(iter(row.values())) for row in read_rows("tried.csv")]
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize(
    ("engine", "precision", "expected"),
    [
        ("transformers", "4-bit", "nf4"),
        ("ollama", "q4", "q4_k_m"),
        ("mlx-lm", "6bit", "mlx-6bit"),
        ("llama.cpp", "", "q4_k_m"),
        ("vllm", "", "bf16"),
    ],
)
def test_a_width_alone_is_its_runtime_s_usual_format(engine: str, precision: str, expected: str) -> None:
    """What users mean who name no format, by `data/usual_widths.csv`."""
    assert row_precision(measurement({**ROW, "engine": engine, "precision": precision})) == expected


def test_a_width_that_several_formats_have_names_none() -> None:
    """vLLM has no usual format of four bits: such a row is refused."""
    with pytest.raises(UnknownPrecision):
        row_precision(measurement({**ROW, "engine": "vllm", "precision": "4-bit"}))


def test_usual_widths_name_what_is_known() -> None:
    """Each row has a canonical precision, engines that there are, and its source."""
    for row in read_rows("usual_widths.csv"):
        assert canonical(row["precision"]) == row["precision"]
        assert set(row["runtimes"].split()) <= set(engines())
        assert row["source"]
