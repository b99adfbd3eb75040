"""`GET /health`: the server answers. Open to everybody, so it tells nothing else."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Liveness only: neither PostgreSQL nor Airflow is asked."""

    status: Literal["ok"] = "ok"


@router.get("/health", summary="The API server answers")
async def health() -> Health:
    return Health()
