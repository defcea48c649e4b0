"""The API holds to its OpenAPI document under generated questions."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("starlette")
schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, settings  # noqa: E402 - after the skips above

from sizer.web.app import application  # noqa: E402
from sizer.web.dispatch import Rules  # noqa: E402

served = application(Rules(offline=True), hosts=["testserver", "localhost"])
schema = schemathesis.openapi.from_asgi("/api/openapi.json", served)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.CHECKS.get_one("status_code_conformance"),
    schemathesis.checks.CHECKS.get_one("content_type_conformance"),
    schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
]

FEW_MODELS = "qwen3-0"
"""What the catalogue is narrowed to: dozens of questions about all of it take seconds each, and no other form."""


@schema.parametrize()
@settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_follow_the_document(case: Any) -> None:
    """Each generated question has an answer of a status and form that the document tells; none is a fault."""
    if case.path == "/api/fit" and not case.query.get("family"):
        case.query = {**case.query, "family": FEW_MODELS}
    case.validate_response(case.call(timeout=300), checks=CHECKS)
