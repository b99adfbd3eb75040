"""What a worker was doing when it was interrupted."""

from tests.chaos.fault_points import Scene
from tests.chaos.steps import MERGED

READING = ("list", "batch_read", "search")
AFTERWARDS = ("associations",)


def phase_of(scene: Scene) -> str:
    """Name it. The worker must be stopped, or the answer is stale."""
    scene.look()
    if scene.progress.step:
        return f"load: {scene.progress.step}"
    if scene.loads > scene.chunks_written:
        return f"load: {MERGED}"
    part = "starting"
    if any(scene.asked[endpoint] for endpoint in READING):
        part = "records"
    if any(scene.asked[endpoint] for endpoint in AFTERWARDS):
        part = "afterwards"
    where = "in a request" if scene.portal.statistics.in_flight else "between requests"
    return f"{part}: {where}"
