"""`sizer models update` against a server that speaks the hub's protocol."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hubserver import COMMIT, Hub, Repo, point_client_at, serve

from sizer.cli.models import command
from sizer.model.read import catalogue, hub_ask, refreshed
from sizer.model.read.resolve import resolve

KNOWN = "Qwen/Qwen3-8B"
PARAMS = 8_190_735_360


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that publishes the catalogue's own Qwen3-8B; what is read from it is kept in a folder of this test."""
    monkeypatch.setattr(hub_ask, "RETRY_WAIT_S", 0.001)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(refreshed, "folder", lambda: tmp_path / "data" / "catalogue")
    refreshed.names.cache_clear()
    with serve() as running:
        publish(running, KNOWN, config_of(KNOWN), PARAMS)
        point_client_at(monkeypatch, running.url, tmp_path)
        yield running
    refreshed.names.cache_clear()


def config_of(name: str) -> dict[str, Any]:
    """A catalogued config."""
    entry = catalogue.shipped(name)
    assert entry
    return dict(catalogue.as_shipped(entry))


def publish(hub: Hub, name: str, config: dict[str, Any], params: int | None = None) -> None:
    """A repository with a config, and the parameters that its weight files hold."""
    summary = {"parameters": {"BF16": params}, "total": params} if params else None
    hub.repos[name] = Repo({"config.json": json.dumps(config).encode()}, safetensors=summary)


def update(*words: str) -> list[dict[str, str | None]]:
    """The outcomes of `sizer models update`."""
    run = CliRunner().invoke(command, ["update", *words, "--json"], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    rows: list[dict[str, str | None]] = json.loads(run.output)
    return rows


def test_what_the_hub_says_as_well_is_the_same(server: Hub) -> None:
    """A config that says what the catalogue does is not kept."""
    assert update(KNOWN) == [{"model": KNOWN, "outcome": "same", "note": None}]
    assert refreshed.names() == frozenset()


def test_a_changed_config_answers_from_then_on_without_a_network(server: Hub, tmp_path: Path) -> None:
    """The new context is told, kept with its commit, and gone again when the hub takes it back."""
    publish(server, KNOWN, config_of(KNOWN) | {"max_position_embeddings": 131_072}, PARAMS)
    assert resolve(KNOWN, offline=True).architecture.max_context_tokens == 40_960
    (row,) = update(KNOWN)
    assert (row["outcome"], row["note"]) == ("changed", "max_position_embeddings 40960 -> 131072")
    asked = len(server.requests)
    assert resolve(KNOWN, offline=True).architecture.max_context_tokens == 131_072
    entry = catalogue.find("qwen3 8b")
    assert entry
    assert COMMIT[:12] in entry.config_source
    assert len(server.requests) == asked
    publish(server, KNOWN, config_of(KNOWN), PARAMS)
    shutil.rmtree(tmp_path / "hub")  # the server has one commit for all it publishes, whose files are cached
    update(KNOWN)
    assert resolve(KNOWN, offline=True).architecture.max_context_tokens == 40_960


def test_a_model_that_the_catalogue_has_not_joins_it(server: Hub) -> None:
    """A new repository is found, listed and estimated as a catalogued one."""
    publish(server, "someone/Fine-Coder-9X", config_of(KNOWN) | {"num_hidden_layers": 40}, None)
    assert catalogue.find("someone/Fine-Coder-9X") is None
    assert update("someone/Fine-Coder-9X")[0]["outcome"] == "new"
    entry = catalogue.find("fine-coder-9x")
    assert entry
    assert entry.model_id == "someone/Fine-Coder-9X"
    assert entry in catalogue.entries()
    assert len(resolve("someone/Fine-Coder-9X", offline=True).architecture.layers) == 40


def test_a_config_that_its_weights_contradict_is_refused(server: Hub) -> None:
    """The weight files hold another number of parameters: the catalogue stays."""
    publish(server, KNOWN, config_of(KNOWN) | {"num_hidden_layers": 12}, PARAMS)
    (row,) = update(KNOWN)
    assert row["outcome"] == "refused"
    assert "8.19B" in str(row["note"])
    assert refreshed.names() == frozenset()


def test_gated_and_missing_ones_are_told_and_the_others_go_on(server: Hub) -> None:
    """One gated repository, one that is gone, and one that answers."""
    server.repos["org/gated"] = Repo({"config.json": b"{}"}, gated="manual")
    rows = update("org/gated", "org/gone", KNOWN)
    assert [row["outcome"] for row in rows] == ["gated", "gone", "same"]


def test_nothing_is_asked_offline_or_after_the_hub_fell_silent(server: Hub) -> None:
    """`--offline` refuses; a hub that fails is asked no further, and the catalogue stays."""
    assert CliRunner().invoke(command, ["update", KNOWN, "--offline"]).exit_code != 0
    assert server.requests == []
    server.faults = [503] * 100
    assert CliRunner().invoke(command, ["update", KNOWN, "org/next"]).exit_code != 0
    assert not any("org/next" in path for _, path, _ in server.requests)


def test_a_damaged_document_is_left_aside(server: Hub) -> None:
    """Junk in the user's folder does not take the catalogue's answer away."""
    Path(refreshed.folder()).mkdir(parents=True)
    (Path(refreshed.folder()) / "Qwen--Qwen3-8B.json").write_text('{"schema_version": 1, "id": ')
    (Path(refreshed.folder()) / "org--new.json").write_text("[]")
    refreshed.names.cache_clear()
    assert resolve(KNOWN, offline=True).architecture.max_context_tokens == 40_960
    assert catalogue.find("org/new") is None
