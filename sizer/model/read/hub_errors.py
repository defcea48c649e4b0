"""What the hub's client raises, in sizer's words: each fault its own error, with what to type next.

Three generations of the client (requests, httpx, httpx2) raise three families of network errors: they are told apart
by the names of their base classes, so that none of them has to be imported.
"""

from __future__ import annotations

from typing import NoReturn

from sizer.errors import GatedModel, HubUnreachable, InvalidHeader, ModelError, UnknownModel

_TRANSPORT = {"TransportError", "ConnectionError"}
_RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})
"""What a server says that may answer the next time: busy, too many requests, a gateway's trouble."""


class FileMissing(UnknownModel):
    """The repository exists and lacks the file."""


class LocalFault(ModelError):
    """A file or folder of this machine that the hub's client needs cannot be used."""


def local_fault(error: OSError) -> LocalFault:
    """The error for a path that cannot be used."""
    return LocalFault(
        f"{str(error.filename)!r} cannot be used: {error.strerror or error} (errno {error.errno}).",
        "Free it or mend its rights; HF_HOME says where the client keeps its files.",
    )


def no_repo_name(repo_id: str) -> UnknownModel:
    """The error for text that can be no repository's name."""
    return UnknownModel(f"{repo_id!r} is no name of a repository.", "A hub id is written org/name.")


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def retry_after_s(error: BaseException) -> float:
    """The seconds that a 429 or 503 asks to wait, or 0."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    asked = str(headers.get("Retry-After", ""))
    return float(asked) if asked.isdecimal() and len(asked) < 9 else 0.0


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _is_timeout(error: BaseException) -> bool:
    return bool(_kinds(error) & {"TimeoutException", "Timeout", "TimeoutError"})


def _is_transport(error: BaseException) -> bool:
    """A failure of the network itself, in the words of requests, httpx and the standard library."""
    named = {"HTTPError", "RequestException", "RequestError", "TransportError", "OSError"}
    return not isinstance(error, ValueError) and bool(_kinds(error) & named)


def may_pass(error: BaseException) -> bool:
    """Whether asking again can help: the traffic and the line, never the repository."""
    status = _status(error)
    if status is not None:
        return status in _RETRIED_STATUS
    names = _kinds(error)
    return _is_timeout(error) or bool(names & _TRANSPORT)


def _is_local(error: BaseException) -> bool:
    """A fault of this machine's files, not of the network: it names a path."""
    return isinstance(error, OSError) and error.errno is not None and bool(error.filename)


def translate(error: Exception, repo_id: str, revision: str | None, filename: str | None, timeout_s: float) -> NoReturn:
    """Raises the one error of sizer's tree that says what went wrong, and what to type next."""
    from huggingface_hub import errors

    at = f" at revision {revision!r}" if revision else ""
    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OSError) and _is_local(error):
        raise local_fault(error) from None
    if isinstance(error, errors.HFValidationError):
        raise no_repo_name(repo_id) from None
    if isinstance(error, errors.GatedRepoError):
        raise GatedModel(
            f"{repo_id!r} is gated: its files need an access request.",
            f"Ask for access at {endpoint()}/{repo_id}, then set HF_TOKEN or run `hf auth login`.",
        ) from None
    if isinstance(error, errors.RevisionNotFoundError):
        raise UnknownModel(
            f"{repo_id!r} has no revision {revision!r}.", f"Try {repo_id!r} without @{revision}."
        ) from None
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        raise FileMissing(
            f"{repo_id!r} has no {filename!r}{at}.", f"See its files at {endpoint()}/{repo_id}/tree/main."
        ) from None
    if isinstance(error, errors.RepositoryNotFoundError):
        raise UnknownModel(
            f"The hub knows no model {repo_id!r}, or it is private.",
            "Check the spelling; for a private model set HF_TOKEN or run `hf auth login`.",
        ) from None
    _translate_http(error, repo_id, filename, timeout_s)


def _translate_http(error: Exception, repo_id: str, filename: str | None, timeout_s: float) -> NoReturn:
    """The faults that are not the repository's: the token, the traffic, the server, the line."""
    status = _status(error)
    if status in (401, 403):
        raise GatedModel(
            f"The hub refuses access to {repo_id!r} (HTTP {status}).",
            "Check that HF_TOKEN is valid and may read this model; `hf auth whoami` tells whose it is.",
        ) from None
    if status == 429:
        raise HubUnreachable(
            f"The hub limits the rate of requests (HTTP 429), asked for {repo_id!r}.",
            "Wait a few minutes, or set HF_TOKEN for a higher limit.",
        ) from None
    if status == 404:
        raise FileMissing(f"The hub has no {filename or 'model'!r} of {repo_id!r}.", "Check the spelling.") from None
    if status == 416:
        raise InvalidHeader(f"{repo_id}/{filename} is shorter than the hub says.", "Download it and pass its path.")
    if status is not None:
        raise HubUnreachable(
            f"{endpoint()} answers HTTP {status} for {repo_id!r}.", "Try again later, or use --offline."
        ) from None
    if _is_timeout(error):
        raise HubUnreachable(
            f"{endpoint()} did not answer within {timeout_s:g} s, asked for {repo_id!r}.",
            "Check the network or HF_ENDPOINT, or use --offline.",
        ) from None
    if _is_transport(error):
        raise HubUnreachable(
            f"{endpoint()} cannot be reached, asked for {repo_id!r}.",
            "Check the network, the proxy and HF_ENDPOINT, or use --offline.",
        ) from None
    raise HubUnreachable(
        f"{endpoint()} gives an answer that is not the hub's, asked for {repo_id!r}: {type(error).__name__}.",
        "Check HF_ENDPOINT and whether a proxy or a login page stands in between.",
    ) from error


def endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
