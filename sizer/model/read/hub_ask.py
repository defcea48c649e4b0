"""One question to the hub: asked again where a fault may pass, never longer than the deadline of the whole answer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sizer.deadline import Answer, DeadlinePassed, in_time
from sizer.errors import GatedModel, HubUnreachable, ModelError, UsageError
from sizer.model.read.hub_errors import endpoint, local_fault, may_pass, retry_after_s, translate

TIMEOUT_S = 10.0
"""How long the hub may keep silent."""
TOTAL_S = 15.0
"""How long all questions about one model may take together, retries included; `--timeout` sets another."""
TIMEOUT_VARIABLE = "SIZER_HUB_TIMEOUT"
ATTEMPTS, RETRY_WAIT_S, MAX_RETRY_WAIT_S = 3, 0.5, 5.0
"""How often one question is asked; the first wait between, which doubles, and the longest that is waited."""


class _Until:
    """When the answer that is being asked for must be there; shared by the threads that read one model."""

    at_s: float | None = None


def total_s() -> float:
    """The seconds that an answer may take. Raises UsageError for a setting that is no positive number."""
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    if not text:
        return TOTAL_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds <= 86_400:
        raise UsageError(f"{TIMEOUT_VARIABLE} is {text!r}.", "It is a number of seconds, up to a day.")
    return seconds


@contextmanager
def answered_in_time() -> Iterator[None]:
    """All questions asked inside share one deadline; an outer one holds for what is inside it."""
    outer = _Until.at_s
    if outer is None:
        _Until.at_s = time.monotonic() + total_s()
    try:
        yield
    finally:
        _Until.at_s = outer


def left_s() -> float:
    """Seconds until the answer must be there."""
    return total_s() if _Until.at_s is None else _Until.at_s - time.monotonic()


def is_offline(offline: bool = False) -> bool:
    """Whether the network is switched off, by the caller or by `HF_HUB_OFFLINE`."""
    from huggingface_hub import constants

    return offline or bool(constants.HF_HUB_OFFLINE)


def ask(
    call: Callable[[], Answer],
    repo_id: str,
    revision: str | None,
    filename: str | None = None,
) -> Answer:
    """The answer of a call to the hub's client; every fault becomes its own error of sizer's tree."""
    if is_offline():
        raise HubUnreachable(f"{repo_id!r} cannot be asked for: the network is switched off.", "Unset HF_HUB_OFFLINE.")
    _check_token()
    # The client tells its own retries to whoever listens: sizer says once what came of it.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    until_s = time.monotonic() + left_s()
    for attempt in range(ATTEMPTS):
        try:
            return _in_time(call, until_s, repo_id)
        except ModelError:  # noqa: PERF203 - a request takes a million times longer
            raise
        except Exception as error:
            wait_s = max(RETRY_WAIT_S * 2**attempt, retry_after_s(error))
            late = time.monotonic() + wait_s >= until_s
            if attempt == ATTEMPTS - 1 or late or not may_pass(error) or wait_s > MAX_RETRY_WAIT_S:
                translate(error, repo_id, revision, filename, TIMEOUT_S)
            time.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _check_token() -> None:
    """A token that no header can carry is told as such, before the client stumbles over it."""
    from huggingface_hub import get_token

    try:
        token = get_token()
    except OSError as error:
        raise local_fault(error) from None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise GatedModel(
            "HF_TOKEN holds characters that no token has.", "Set it again: a token is letters, digits and _ alone."
        )


def _in_time(call: Callable[[], Answer], until_s: float, repo_id: str) -> Answer:
    """The result of a call, waited for until a time. Raises HubUnreachable."""
    try:
        return in_time(call, until_s - time.monotonic())
    except DeadlinePassed:
        raise HubUnreachable(
            f"{endpoint()} did not finish an answer within {total_s():g} s, asked for {repo_id!r}.",
            "Give it longer with --timeout, or use --offline.",
        ) from None
