"""The catalogue against the hub: which configs changed there, and models that the catalogue has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from sizer.errors import GatedModel, HubUnreachable, InvalidConfig, ModelError, UnknownModel, UsageError
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Basis
from sizer.model.read import catalogue, refreshed
from sizer.model.read.hub_errors import FileMissing
from sizer.model.read.refreshed import Refreshed
from sizer.tables import read_rows
from sizer.units import format_count

MAX_DIFFERENCE = 0.02
"""How far a config's parameters may lie from those of its weight files before it is not believed."""
SHOWN_FIELDS = 4
"""Fields of a changed config that a line names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the hub said of one model: same, changed, new, gated, gone, refused or unreachable, and why."""

    model_id: str
    outcome: str
    note: str = ""


def wanted(words: Sequence[str]) -> tuple[str, ...]:
    """The ids that words ask for: repositories as they stand (`org/name`), else catalogued models that hold them all.

    Raises: UnknownModel.
    """
    if words and all(word.count("/") == 1 for word in words):
        return tuple(dict.fromkeys(words))
    found = catalogue.search(" ".join(words))
    if not found:
        raise UnknownModel(f"no catalogued model matches {' '.join(words)!r}.", "Name a repository: org/name.")
    return tuple(entry.model_id for entry in found)


def update(model_ids: Sequence[str]) -> Iterator[Outcome]:
    """Ask the hub for each model, keep what changed or is new. After the hub fell silent nothing more is asked."""
    for model_id in model_ids:
        outcome = _asked(model_id)
        yield outcome
        if outcome.outcome == "unreachable":
            return


def _asked(model_id: str) -> Outcome:
    try:
        return _updated(model_id)
    except GatedModel:
        return Outcome(model_id, "gated", "its page asks for an account; HF_TOKEN of one that may read it helps")
    except (FileMissing, UnknownModel) as error:
        return Outcome(model_id, "gone", error.message)
    except HubUnreachable as error:
        return Outcome(model_id, "unreachable", error.message)
    except ModelError as error:
        return Outcome(model_id, "refused", error.message)


def _updated(model_id: str) -> Outcome:
    """One model asked of the hub again: kept where its config changed, and believed by its parameters."""
    from sizer.model.read import hub

    with hub.answered_in_time():
        info = hub.repo_info(model_id)
        published = hub.load_json(model_id, "config.json", info.commit)
    known = catalogue.shipped(model_id)
    name = known.model_id if known else model_id
    ours = catalogue.as_shipped(known) if known else None
    config = {**published, **(_by_rule(name, published, ours) if ours else {})}
    built = _believed(config, name, info.total_params)
    found = Refreshed(name, info.commit or "", date.today().isoformat(), info.total_params, config)
    if known is None or ours is None:
        _keep(found)
        return Outcome(name, "new", f"{format_count(built.total_params)} parameters, {built.model_type}")
    changes = _changes(ours, config) + [f"{field} is published now" for field in known.unknown if field in published]
    if not changes:
        refreshed.forget(name)
        return Outcome(name, "same")
    _keep(found)
    return Outcome(name, "changed", ", ".join(changes))


def _keep(found: Refreshed) -> None:
    try:
        refreshed.save(found)
    except OSError as error:
        raise UsageError(
            f"{str(refreshed.folder())!r} cannot be written: {error.strerror or error}.", "Set XDG_DATA_HOME."
        ) from None


def _believed(config: Mapping[str, Any], model_id: str, stored_params: int | None) -> Architecture:
    """The model that a config describes, if that is what its weight files hold.

    Quantized files count packed words for parameters, and say nothing here.
    Raises: InvalidConfig, UnsupportedArchitecture.
    """
    from sizer.model.families import build

    built = build(config, model_id, Basis.CATALOGUE)
    if stored_params and not built.quantization:
        counts = (built.total_params, built.checkpoint_params)
        if all(abs(count - stored_params) > MAX_DIFFERENCE * stored_params for count in counts):
            raise InvalidConfig(
                f"{model_id!r}: its config makes {format_count(built.total_params)} parameters, its weight files hold "
                f"{format_count(stored_params)}.",
                "The config is not the one that its weights were made with.",
            )
    return built


def _by_rule(model_id: str, published: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What a family rule gives the catalogue, in fields that the config on the hub does not have."""
    rules = {row["field"] for row in read_rows("config_fields.csv") if row["id"] == model_id and row["basis"] == "rule"}
    told = published.keys() | ({"torch_dtype"} if "dtype" in published else set())
    return {field: ours[field] for field in (rules & ours.keys()) - told}


def _changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What the catalogue says otherwise: `max_position_embeddings 32768 -> 131072`."""
    changes = [
        f"{field} {_short(ours[field])} -> {_short(theirs.get(field))}"
        for field in ours
        if not field.startswith("_") and field in theirs and theirs[field] != ours[field]
    ]
    more = len(changes) - SHOWN_FIELDS
    return changes[:SHOWN_FIELDS] + ([f"{more} more"] if more > 0 else [])


def _short(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__ if isinstance(value, dict | list) else repr(value)
