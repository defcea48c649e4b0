"""The server backend: times an OpenAI-compatible server from outside, by streaming, at a concurrency."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex
from statistics import median
from typing import Any

from sizer.benchmark.records import Caution, Outcome, Run, Spec
from sizer.benchmark.run_warnings import Warn
from sizer.benchmark.sse import Content, Server, ServerGone, Token
from sizer.errors import BenchmarkFailed
from sizer.frozen import dataclass

# What /v1/models says in `owned_by` -> the engine's name in the measurements.
ENGINES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "library": "ollama"}
# Plain words of one token in most vocabularies; the true count comes from the server's usage report.
WORDS = ("the", "of", "and", "to", "in", "is", "for", "that", "on", "with", "as", "are", "it", "from", "be", "at")
MERGED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Reply:
    """One streamed answer: when it was asked, when each event with text came, and the server's own token counts."""

    asked_s: float
    events_s: tuple[float, ...]
    prompt_tokens: int | None
    output_tokens: int

    @property
    def run(self) -> Run:
        """Time to the first token, and from there to the last."""
        return Run(self.events_s[0] - self.asked_s, self.events_s[-1] - self.events_s[0])


def run(spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Warm up one request per user, then `repeats` requests of each of `concurrency` users."""
    stage(f"asking {spec.server_url}")
    server = Server(spec.server_url)
    model, engine = choose_model(server.models(), spec.model)
    words = spec.prompt_tokens
    salt = token_hex(8)
    warmups = max(1, spec.warmups)  # the first answer also tells how many tokens the words are
    try:
        for index in range(warmups):
            stage(f"warming up ({index + 1} of {warmups})")
            reply = ask(server, model, prompt_text(words, f"{salt} warm-up {index}"), spec.output_tokens)
            if reply.prompt_tokens:
                words = max(1, round(words * spec.prompt_tokens / reply.prompt_tokens))
        stage(f"measuring ({spec.repeats} requests of {spec.concurrency} users)")
        start = time.perf_counter()
        replies = _ask_concurrently(server, model, spec, words, salt)
        wall_s = time.perf_counter() - start
    except ServerGone as error:
        raise BenchmarkFailed(f"The server at {spec.server_url!r} went away: {error}.", "Look at its log.") from error
    return replace(_outcome(spec, engine, replies, warmups, wall_s), model=model)


def choose_model(models: list[Mapping[str, Any]], asked: str) -> tuple[str, str]:
    """The server's model to ask (the only one, else the one named) and its engine, `openai-server` where untold."""
    by_id = {str(model.get("id")): model for model in models}
    if asked and asked not in by_id and len(by_id) > 1:
        raise BenchmarkFailed(f"The server has no model {asked!r}.", f"It has {', '.join(sorted(by_id))}.")
    if not asked and not by_id:
        raise BenchmarkFailed("The server does not list its models.", "Name one: sizer bench MODEL --server URL ...")
    if not asked and len(by_id) != 1:
        raise BenchmarkFailed(f"The server has {len(by_id)} models.", f"Name one: {', '.join(sorted(by_id)) or '?'}.")
    # A server with one model serves it under whatever name it likes: what was named is then for the prediction.
    chosen = next(iter(by_id)) if len(by_id) == 1 else asked
    owner = str(by_id.get(chosen, {}).get("owned_by", ""))
    return chosen, ENGINES.get(owner, "openai-server")


def prompt_text(words: int, seed: str) -> str:
    """Random words by a seed that no other request has had: no cache of an earlier prompt helps."""
    chooser = random.Random(seed)  # noqa: S311 - a workload, no secret
    return " ".join(chooser.choice(WORDS) for _ in range(words))


def ask(server: Server, model: str, content: Content, output_tokens: int, asked_s: float | None = None) -> Reply:
    """One streamed request, timed from `asked_s` (now unless told); BenchmarkFailed where nothing came."""
    asked_s = time.perf_counter() if asked_s is None else asked_s
    tokens: list[Token] = list(server.stream(model, content, output_tokens))
    timed = [token for token in tokens if token.text]
    last = next((token for token in reversed(tokens) if token.usage), Token("", asked_s))
    made = last.counted("completion_tokens") or len(timed)
    if len(timed) < 2 or made < 2:
        raise BenchmarkFailed(
            f"The server answered with {made} tokens in {len(timed)} events.",
            "At least two are needed to time decoding; raise --output.",
        )
    events_s = tuple(token.at_s for token in timed)
    return Reply(asked_s, events_s, last.counted("prompt_tokens") or None, made)


def _ask_concurrently(server: Server, model: str, spec: Spec, words: int, salt: str) -> list[Reply]:
    """The answers of all users, each asking again when it is answered; the first error of any ends all."""
    replies: list[Reply] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def user(number: int) -> None:
        try:
            for index in range(spec.repeats):
                if stop.is_set():
                    return
                content = prompt_text(words, f"{salt} {number} {index}")
                replies.append(ask(server, model, content, spec.output_tokens))
        except BaseException as error:
            stop.set()
            errors.append(error)

    users = [threading.Thread(target=user, args=(number,), daemon=True) for number in range(spec.concurrency)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    if errors:
        raise errors[0]
    return replies


def _outcome(spec: Spec, engine: str, answers: list[Reply], warmups: int, wall_s: float) -> Outcome:
    """What the answers show, as a run of one's own would."""
    replies = _timed(answers)
    tokens = round(median(reply.output_tokens for reply in replies))
    steps = tokens - 1
    prompts = [reply.prompt_tokens for reply in replies if reply.prompt_tokens]
    # Answers of unequal length are brought to the median's, so that the runs can be compared.
    runs = tuple(
        Run(reply.run.prefill_s, reply.run.decode_s * steps / max(1, reply.output_tokens - 1)) for reply in replies
    )
    return Outcome(
        engine=engine,
        runs=runs,
        warmup_runs=warmups,
        prompt_tokens=round(median(prompts)) if prompts else spec.prompt_tokens,
        decode_steps=steps,
        precision=spec.precision,
        device_count=spec.device_count,
        wall_s=wall_s * len(replies) / len(answers),  # the answers left out took their share
        cautions=tuple(_cautions(spec, answers)),
    )


def _timed(replies: list[Reply]) -> list[Reply]:
    """The answers whose tokens came over time: a proxy that buffers, or a busy machine, hands over all in one piece."""
    timed = [reply for reply in replies if reply.run.decode_s > 0]
    if not timed:
        raise BenchmarkFailed("Each answer came in one piece: decoding has no time.", Warn.ONE_PIECE.remedy)
    return timed


def _cautions(spec: Spec, replies: list[Reply]) -> list[Caution]:
    found = []
    if at_once := len(replies) - len(_timed(replies)):
        found.append(Warn.ONE_PIECE.caution(f"{at_once} of {len(replies)} answers came in one piece and do not count."))
    short = [reply for reply in replies if reply.output_tokens < spec.output_tokens]
    if short:
        found.append(Warn.EARLY_STOP.caution(f"{len(short)} of {len(replies)} answers stopped early."))
    merged = [reply for reply in replies if len(reply.events_s) < MERGED_SHARE * reply.output_tokens]
    if merged:
        found.append(Warn.MERGED_TOKENS.caution(f"{len(merged)} of {len(replies)} answers came in fewer events."))
    return found
