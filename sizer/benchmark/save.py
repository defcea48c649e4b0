"""Appends a measurement to a results file: CSV with the columns of `data/measurements.csv`, all or nothing."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sizer.answer.records import Estimate
from sizer.benchmark.records import Caution, Measurement
from sizer.device.naming import name_of
from sizer.engine.flag_text import flags_text
from sizer.errors import BenchmarkFailed, InvalidInputFile
from sizer.frozen import NamedTuple
from sizer.printable import one_line
from sizer.units import GIB

ROW_FORMAT = 1
"""Version of what the rows mean; it stands in each row's `source_url`. A change of meaning raises it."""

COLUMNS = (
    "id",
    "source_url",
    "source_date",
    "engine",
    "engine_version",
    "backend",
    "model",
    "precision",
    "precision_as_printed",
    "device",
    "device_count",
    "parallelism",
    "threads",
    "batch",
    "prompt_tokens",
    "context_tokens",
    "output_tokens",
    "metric",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "memory_gib",
    "total_params_b",
    "active_params_b",
    "model_file_gib",
    "flags",
    "engine_flags",
    "power_limit_w",
)
OPTIONAL = frozenset({"engine_flags", "power_limit_w", "flags"})
"""Columns that a file from before may lack, until a row fills them."""
# Writers hold the lock for milliseconds; a minute means that one of them is stuck.
LONGEST_WAIT_S = 60.0
BYTE_ORDER_MARK = "\ufeff"
# Warnings that other sources' rows have by another name, which `sizer validate` and `calibrate` know; the others stand
# in `flags` by their own codes.
FLAGS = {"spilled": "offload", "swapping": "suspect", "throttled": "power_limited", "on-battery": "power_limited"}


def flags_of(warnings: Iterable[Caution]) -> str:
    """Warnings as the column `flags` has them: those that keep a row from teaching have its words."""
    return "|".join(sorted({FLAGS.get(item.code, item.code) for item in warnings}))


def row(measured: Measurement, predicted: Estimate | None, version: str) -> dict[str, str]:
    """The measurement as a row. Of several sequences the decode figure is the aggregate, as in the table."""
    sequences = measured.batch_size * measured.concurrency
    model = predicted.architecture if predicted else None
    figures: dict[str, object] = {
        "id": f"sizer-bench-{measured.machine.get('fingerprint', 'unknown')}-{_digits(measured.measured_on)}",
        "source_url": f"sizer bench {version}, row format {ROW_FORMAT}",
        "source_date": measured.measured_on[:10],
        "engine": measured.engine,
        "engine_version": _engine_version(measured),
        "backend": measured.device,
        "model": model.model_id if model else measured.model,
        "precision": measured.precision,
        "precision_as_printed": f"{measured.precision}{' random weights' if measured.random_weights else ''}",
        "device": name_of(predicted.target) if predicted else measured.device_name,
        "device_count": measured.device_count,
        "parallelism": measured.parallelism,
        "threads": measured.threads,
        "batch": sequences,
        "prompt_tokens": measured.prompt_tokens,
        "context_tokens": measured.prompt_tokens,
        "output_tokens": measured.output_tokens,
        "metric": "decode",
        "prefill_tokens_per_s": round(measured.prefill_tokens_per_s, 4),
        "decode_tokens_per_s": round(measured.decode_tokens_per_s * sequences, 4),
        "memory_gib": round(measured.peak_memory_bytes / GIB, 4) if measured.peak_memory_bytes else None,
        "total_params_b": model.total_params / 1e9 if model else None,
        "active_params_b": model.active_params / 1e9 if model else None,
        "model_file_gib": None,
        "flags": flags_of(measured.warnings),
        "engine_flags": flags_text(predicted.options) if predicted else "",
        "power_limit_w": None,
    }
    return {name: "" if figures[name] is None else str(figures[name]) for name in COLUMNS}


def _engine_version(measured: Measurement) -> str:
    """The engine's own version first, then what it stands on: `5.23.0, torch 2.13.0`."""
    others = {name: value for name, value in measured.versions.items() if value}
    own = others.pop(measured.engine, "")
    rest = [f"{name} {value}" for name, value in others.items()]
    return ", ".join([*filter(None, [own]), *rest, *(["compiled"] if measured.compiled else [])])


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def check(path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Whether a row of these columns can be appended: asked before the run, whose hours a wrong file must not cost.

    Raises InvalidInputFile for a file that is no results file (other columns, another encoding), BenchmarkFailed where
    the folder cannot be made or written to.
    """
    target = _target(path)
    try:
        if target.exists():
            _read(target, columns)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target), tempfile.NamedTemporaryFile(prefix=f".{target.name}.", dir=target.parent):
            if target.exists():
                target.open("r+b").close()
    except OSError as error:
        raise _cannot(path, error, "nothing was run") from error


def append(path: Path, new_row: Mapping[str, str]) -> None:
    """Add one row, as `append_all` does."""
    append_all(path, [new_row])


def append_all(
    path: Path, new_rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS, *, once: bool = False
) -> int:
    """Add rows, or, `once`, those whose id the file has not got yet; how many were added.

    The file is as before or has them whole, also when the disk is full or two write at once.
    Raises InvalidInputFile for a file that is not such a table, BenchmarkFailed where it cannot be written.
    """
    target = _target(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            table = _read(target, columns)
            known = {row.get("id") for row in csv.DictReader(io.StringIO(table.text, newline=""))} if once else set()
            fresh = [row for row in new_rows if row["id"] not in known]
            if fresh:
                _replace(target, _with_rows(target, table, fresh))
            return len(fresh)
    except OSError as error:
        raise _cannot(path, error, "the file is as it was") from error


def keep(path: Path, new_row: Mapping[str, str]) -> Path | None:
    """Keep a row that could not be appended in a file of its own: beside the other, else in the user's data folder, or
    in the folder for temporary files; None where none of them takes it."""
    from sizer.device.measured import folder

    name = f"{path.stem}-{new_row['id']}.csv"
    for place in (path.expanduser().absolute().parent, folder(), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError, InvalidInputFile, BenchmarkFailed):
            append(place / name, new_row)
            return place / name
    return None


def _target(path: Path) -> Path:
    target = path.expanduser().resolve()
    if target.exists() and not target.is_file():
        raise BenchmarkFailed(f"{str(path)!r} is no file that rows can be saved to.", "Choose another file.")
    return target


def _cannot(path: Path, error: OSError, otherwise: str) -> BenchmarkFailed:
    return BenchmarkFailed(
        f"The row could not be saved to {str(path)!r} ({error.strerror or error}); {otherwise}.",
        "Free space or choose another file.",
    )


class _Table(NamedTuple):
    """A results file: its text without the byte-order mark that Excel writes, its columns and its line end."""

    text: str
    header: list[str]
    mark: str
    line_end: str


def _read(target: Path, columns: Sequence[str]) -> _Table:
    """A results file, or an empty one where there is none. Raises InvalidInputFile, OSError."""
    try:
        text = target.read_bytes().decode("utf-8") if target.exists() else ""
    except UnicodeDecodeError:
        raise InvalidInputFile(
            f"{str(target)!r} is not written in UTF-8.", "Save it as 'CSV UTF-8', or give a new file."
        ) from None
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    text = text.removeprefix(mark)
    if not text.strip():
        return _Table("", list(columns), mark, "\n")
    header = next(csv.reader(text.splitlines()[:1]), [])
    if not set(columns) - OPTIONAL <= set(header):
        semicolons = (
            " Its cells are separated by semicolons: save it with commas." if ";" in text.splitlines()[0] else ""
        )
        raise InvalidInputFile(
            f"{str(target)!r} has other columns than a results file.{semicolons}",
            f"Give a new file: its columns are {', '.join(columns[:4])}, ... {columns[-1]}.",
        )
    return _Table(text, header, mark, "\r\n" if "\r\n" in text else "\n")


def _with_rows(target: Path, table: _Table, new_rows: Sequence[Mapping[str, str]]) -> str:
    """The file's text with the rows added, in the order of the file's own columns, with its own mark and line ends."""
    lacking = [name for name in OPTIONAL - set(table.header) if any(row.get(name) for row in new_rows)]
    if lacking:
        raise InvalidInputFile(
            f"{str(target)!r} has no column {lacking[0]!r}, which these rows fill.", "Add it, or give a new file."
        )
    out = io.StringIO()
    writer = csv.DictWriter(out, table.header, restval="", extrasaction="ignore", lineterminator=table.line_end)
    if not table.text:
        writer.writeheader()
    # A server's name may hold control characters, and Python 3.10's `csv` writes no NUL.
    writer.writerows({name: one_line(value) for name, value in row.items()} for row in new_rows)
    separator = "" if not table.text or table.text.endswith(("\n", "\r")) else table.line_end
    return table.mark + table.text + separator + out.getvalue()


def _replace(target: Path, text: str) -> None:
    """Write beside the file, flush to the disk, and take its place in one step."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold a lock beside the file, gone afterwards: the file itself is replaced, so a lock on it would be lost."""
    from filelock import FileLock, Timeout

    lock = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(lock, timeout=LONGEST_WAIT_S):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows keeps an open file: there the library removes it
                    lock.unlink()
    except Timeout:
        raise OSError(errno.EBUSY, f"another program holds {str(lock)!r}") from None
