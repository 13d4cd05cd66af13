"""The manual page of the API tells all there is."""

from __future__ import annotations

from pathlib import Path

from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families
from pydantic import AfterValidator

from assistant.api.adapters import adapters_router
from assistant.api.documents import documents_router
from assistant.api.health import health_router
from assistant.api.metrics import Metrics
from assistant.api.openai import openai_router
from assistant.api.schema import ChatBody, CompletionBody
from tests.api.test_errors import SwapboardError, tree
from tests.fakes import fake_service

MANUAL = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_endpoint_is_in_the_manual(tmp_path):
    service = fake_service(tmp_path)
    routers = (
        openai_router(service),
        adapters_router(service, 1),
        documents_router(service),
        health_router(service),
    )
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) == 24
    for route in routes:
        (method,) = route.methods
        assert f"`{method} {route.path}`" in MANUAL


def test_every_metric_is_in_the_manual(tmp_path):
    service = fake_service(tmp_path)
    text = Metrics(service.catalog, service.backend).text().decode()
    names = [
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    ]
    assert len(names) > 10
    for name in names:
        assert name in MANUAL


def test_every_error_code_is_in_the_manual():
    for kind in tree(SwapboardError):
        rows = [line for line in MANUAL.splitlines() if line.startswith(f"| {kind.status} |")]
        assert any(f"`{kind.code}`" in row for row in rows), kind.code


def test_every_field_that_is_obeyed_is_in_the_manual():
    for name, field in {**ChatBody.model_fields, **CompletionBody.model_fields}.items():
        # The mark of a field that is known and not offered, see `only`.
        if not any(isinstance(mark, AfterValidator) for mark in field.metadata):
            assert f"`{name}" in MANUAL, name
