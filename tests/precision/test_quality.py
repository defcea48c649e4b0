"""Quality by precision, and the list that `sizer precisions` prints."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from publishedmodels import catalogued

from sizer.answer.loss import Loss, _quality
from sizer.cli import cli
from sizer.errors import UnknownPrecision
from sizer.precision.listing import listing
from sizer.precision.names import all_precisions
from sizer.precision.quality import as_others_of_model, kl_divergence, on_curve, quality, rows

# llama.cpp's table for Llama-3-8B, rounded as it is usually quoted: KL divergence and change of perplexity.
QUOTED = {
    "q8_0": (0.0014, 0.003), "q6_k": (0.0055, 0.022), "q5_k_m": (0.011, 0.057), "q5_k_s": (0.017, 0.105),
    "q4_k_m": (0.031, 0.175), "q4_k_s": (0.043, 0.27), "iq4_xs": (0.036, 0.23), "q4_0": (0.072, 0.47),
    "q3_k_m": (0.084, 0.50), "iq3_xxs": (0.18, 1.2), "q2_k": (0.33, 2.4), "iq2_xxs": (0.81, 7.9), "iq1_s": (2.25, 54),
}  # fmt: skip


@pytest.mark.parametrize(("name", "quoted"), QUOTED.items())
def test_measured_quality_is_the_tables(name: str, quoted: tuple[float, float]) -> None:
    """The usual row of each type agrees with the quoted figures."""
    found = quality(name)
    assert found is not None
    assert found.kl_divergence == pytest.approx(quoted[0], rel=0.06)
    assert found.delta_perplexity == pytest.approx(quoted[1], rel=0.13)
    assert found.model == "Llama-3-8B"
    assert found.source


def test_each_measured_type_has_one_usual_row() -> None:
    """One row a precision is the default, and a row with or without an importance matrix can be asked for."""
    usual = [row.precision for row in rows() if row.usual]
    assert len(usual) == len(set(usual)) == len({row.precision for row in rows()})
    without, with_matrix = quality("q2_k", imatrix=False), quality("q2_k", imatrix=True)
    assert without is not None
    assert with_matrix is not None
    assert without.kl_divergence > with_matrix.kl_divergence
    assert quality("iq1_s", imatrix=False) is None


def test_unmeasured_is_none_and_unknown_is_an_error() -> None:
    """A scheme that no source compares has no figure; a name that is none is refused."""
    assert kl_divergence("awq-int4") is None
    assert kl_divergence("ud-q4_k_xl") is None
    assert kl_divergence("bf16") == 0
    assert kl_divergence("iq4_xs_r8") == kl_divergence("iq4_xs")
    with pytest.raises(UnknownPrecision):
        kl_divergence("q4_k_n")


def test_the_loss_falls_with_bits_along_a_curve() -> None:
    """Between the points of a curve the loss is monotone, at them it is theirs, from 16 bits on there is none."""
    curve = [(8.5, 0.0014), (4.9, 0.031), (2.1, 0.81)]
    losses = [on_curve(curve, bits / 10) for bits in range(10, 170)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0
    assert [on_curve(curve, bits) for bits, _ in curve] == pytest.approx([loss for _, loss in curve])
    assert on_curve(curve, 1) == 0.81


def test_every_precision_is_listed_with_its_bits() -> None:
    """Each row has bits (whole model and format), engines and a source; the whole model is never below the format."""
    found = listing()
    assert [row.precision for row in found] == list(all_precisions())
    for row in found:
        assert 1 < row.bits_per_weight <= 32, row.precision
        assert row.engines, row.precision
        assert row.source, row.precision
    by_name = {row.precision: row for row in found}
    assert by_name["q4_k_m"].bits_per_weight == pytest.approx(4.89, abs=0.01)
    assert by_name["q4_k_m"].format_bits_per_weight == 4.5
    assert by_name["mlx-4bit"].format_bits_per_weight == 4.5
    assert by_name["nf4"].format_bits_per_weight == pytest.approx(4.5, abs=0.001)
    assert by_name["exl2-4.00bpw"].format_bits_per_weight == 4.0


def test_the_command_lists_filters_and_refuses() -> None:
    """A table for people, JSON with the same names, a filter of words, exit code 2 where nothing matches."""
    runner = CliRunner()
    table = runner.invoke(cli, ["precisions"])
    assert table.exit_code == 0
    assert "q4_k_m" in table.output
    answer = json.loads(runner.invoke(cli, ["precisions", "quip-sharp", "--json"]).output)
    assert [row["precision"] for row in answer] == ["quip-2bit"]
    assert answer[0]["engines"] == "quip-sharp"
    assert answer[0]["kl_divergence"] is None
    refused = runner.invoke(cli, ["precisions", "nothing-like-it"])
    assert isinstance(refused.exception, UnknownPrecision)
    assert refused.exception.exit_code == 2


def test_the_tables_of_losses_are_made_from_the_facts() -> None:
    """A model's measured row comes first; what is not measured is scaled by active parameters and says so."""
    measured = _quality(catalogued("Qwen/Qwen3-30B-A3B"), "q4_k_m", "llama.cpp", None)
    assert measured.basis == "measured"
    assert measured.kl_divergence == pytest.approx(0.010136, rel=1e-3)
    small = _quality(catalogued("Qwen/Qwen3-8B"), "q4_k_m", "llama.cpp", None)
    large = _quality(catalogued("Qwen/Qwen2.5-72B-Instruct"), "q4_k_m", "llama.cpp", None)
    assert (small.basis, large.basis) == ("table", "table")
    assert large.kl_divergence / small.kl_divergence == pytest.approx(
        (72_706_203_648 / 8_190_735_360) ** -0.2, rel=1e-3
    )
    assert small.low < small.kl_divergence < small.high


def test_rows_of_a_model_tell_its_other_precisions() -> None:
    """Where a model was measured at some precisions, those between and beside them follow its own rows: more bits of a
    kind never lose more, and a precision of another kind is told as before."""
    model = catalogued("Qwen/Qwen3-30B-A3B")
    names = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s", "q3_k_m", "q2_k")
    losses = [_quality(model, name, "llama.cpp", None) for name in names]
    assert [loss.basis for loss in losses] == [
        "measured", "model", "model", "measured", "measured", "model", "model"
    ]  # fmt: skip
    assert [loss.kl_divergence for loss in losses] == sorted(loss.kl_divergence for loss in losses)
    assert _quality(model, "awq-int4", "vllm", None).basis != "model"


def test_what_others_tell_is_a_weighted_mean() -> None:
    """One row passes its ratio on, but tells no precision of fewer bits to lose less than others' rows do; of two, the
    nearer counts more; without any a told loss stays."""
    assert as_others_of_model(0.02, []) == 0.02
    assert as_others_of_model(0.02, [(0.04, 0.02)]) == pytest.approx(0.01)
    assert as_others_of_model(0.08, [(0.04, 0.02)]) == 0.08
    assert as_others_of_model(0.08, [(0.04, 0.08)]) == pytest.approx(0.16)
    assert 0.02 < as_others_of_model(0.02, [(0.02, 0.04), (0.2, 0.1)]) < 0.04


def test_words_and_disagreement_follow_the_divergence() -> None:
    """More divergence is never a better word, and the likeliest token differs as rows that tell both say."""
    losses = [Loss(kl, "table", 2.0) for kl in (0.0, 0.001, 0.01, 0.05, 0.2, 1.0)]
    assert [loss.words for loss in losses] == [
        "none to notice", "none to notice", "hard to notice", "small slips", "visibly worse", "often wrong",
    ]  # fmt: skip
    # Llama-3-8B Q4_K_M: KL 0.0313, the same top token in 91.9 % (data/quality_facts.csv).
    assert Loss(0.0313, "table", 2.0).top_token_disagreement == pytest.approx(1 - 0.919, abs=0.02)
