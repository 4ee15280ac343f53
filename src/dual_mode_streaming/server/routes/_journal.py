"""`/simulator/requests`: what the simulator was asked, for a test in another process."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm import JournalEntry, Router, Simulator


class JournalResponse(BaseModel):
    """The newest requests, the oldest of them first."""

    data: list[JournalEntry]


def journal_routes(provider: Router, admission: Admission) -> APIRouter:
    """Return the routes. They need a key where the service does."""

    async def admitted(request: Request) -> None:
        await admission.check(request)

    routes = APIRouter(tags=["LLM"], dependencies=[Depends(admitted)])
    simulator = provider.of("simulator")
    assert isinstance(simulator, Simulator)

    @routes.get("/simulator/requests", summary="The requests that the simulator was given")
    async def requests() -> JournalResponse:
        return JournalResponse(data=list(simulator.journal))

    @routes.delete("/simulator/requests", status_code=204, summary="Forget these requests")
    async def forget() -> None:
        simulator.journal.clear()

    return routes
