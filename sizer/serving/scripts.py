"""What the public benchmark behind most measured points told its servers: rows of `data/serving_scripts.csv`.

The launch scripts of InferenceX (SemiAnalysis) are public, and its points carry their date: which budget of tokens and
sequences a server had, how often it looked for new requests, how long it let prompts wait for others, and whether it
drafted. None of it is the engine's own default.
"""

from __future__ import annotations

from collections.abc import Mapping

from sizer.frozen import NamedTuple, dataclass
from sizer.tables import read_rows

TABLE = "serving_scripts.csv"
EXACT = ("benchmark", "engine", "system", "precision", "version", "prompt_tokens", "output_tokens")
"""The columns that hold what a run must have to the letter."""
NUMBERS = (
    "step_tokens", "step_prompts", "step_users", "max_sequences", "idle_places", "poll_steps", "delay_steps",
)  # fmt: skip


class Run(NamedTuple):
    """What a script is chosen by: one measured point of a `benchmark` (`inferencex` or `other`).

    `model` is in lower case, `date` ISO, `devices` those of one server, `expert_ranks` whether whole experts lie on
    different ones.
    """

    benchmark: str
    engine: str
    system: str
    model: str
    precision: str
    version: str
    date: str
    prompt_tokens: int
    output_tokens: int
    devices: int
    expert_ranks: bool
    users: int


@dataclass(frozen=True, slots=True)
class Script:
    """What a server was told; None and 0 where the engine's own default held.

    It looks for new requests every `poll_steps` steps, lets the first prompt of several wait `delay_steps` steps for
    others, and makes several tokens a step where it is `drafted`. It is `cold` where the run's first requests fill the
    first step of its life that is full.
    """

    step_tokens: int | None = None
    max_sequences: int | None = None
    poll_steps: int = 0
    delay_steps: int = 0
    drafted: bool = False
    cold: bool = False

    def waited_steps(self, arrivals_per_step: float) -> float:
        """Mean decode steps from a request's arrival to its being seen.

        Half an interval of polling; of a delay all of it for the request that begins it, half for those that come
        while it lasts.
        """
        others = arrivals_per_step * self.delay_steps
        return self.poll_steps / 2 + self.delay_steps * (1 + others / 2) / (1 + others)


NO_SCRIPT = Script()


def script_of(run: Run) -> Script:
    """The settings of a run: later rows of the table speak over earlier ones."""
    found: dict[str, str] = {}
    for row in read_rows(TABLE):
        if speaks_of(row, run):
            found |= {name: value for name, value in row.items() if value}
    told = {name: int(found.get(name, 0)) for name in NUMBERS}
    asked = told["step_prompts"] * run.prompt_tokens + told["step_users"] * run.users
    tokens, idle = max(told["step_tokens"], asked), told["idle_places"]
    return Script(
        step_tokens=tokens or None,
        max_sequences=max(1, run.users - idle) if idle else told["max_sequences"] or None,
        poll_steps=told["poll_steps"],
        delay_steps=told["delay_steps"],
        drafted="drafter" in found,
        cold="cold" in found and run.users * run.prompt_tokens >= tokens,
    )


def speaks_of(row: Mapping[str, str], run: Run) -> bool:
    """Whether a row of the table is of a run: an empty cell stands for any."""
    return (
        row["model"] in run.model
        and all(row[name] in {"", str(getattr(run, name))} for name in EXACT)
        and (not row["devices"] or str(run.devices) in row["devices"].split())
        and row["experts"] in {"", "yes" if run.expert_ranks else "no"}
        and row["from_date"] <= run.date
        and (not row["before_date"] or run.date < row["before_date"])
        and run.users >= int(row["min_users"] or 0)
    )
