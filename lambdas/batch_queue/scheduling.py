"""Decides what runs next: limits, free slots, and which pending chunks become jobs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .model import ChunkRef, Place, Route, base_model


@dataclass(frozen=True, slots=True)
class Running:
    """An active job of the account: ``route`` is "" for one that is not ours."""

    model_id: str
    route: str = ""


def model_limits(routes: Iterable[Route]) -> dict[str, int]:
    """Base model → the most active jobs it may have: the largest limit of the routes that share it."""
    limits: dict[str, int] = {}
    for route in routes:
        model = base_model(route.model_id)
        limits[model] = max(limits.get(model, 0), route.max_active_jobs)
    return limits


def free_slots(routes: Iterable[Route], running: Iterable[Running]) -> dict[str, int]:
    """Base model → how many more jobs may be started now (0 or more), whoever started the active ones."""
    active = Counter(base_model(job.model_id) for job in running)
    return {model: max(0, limit - active[model]) for model, limit in model_limits(routes).items()}


def room(route: Route, routes: Iterable[Route], running: Sequence[Running]) -> int:
    """How many more jobs one route may start now: the model's free slots, within the route's own cap."""
    own = sum(1 for job in running if job.route == route.name)
    return max(0, min(free_slots(routes, running)[base_model(route.model_id)], route.max_active_jobs - own))


def choose(
    pending: Mapping[str, Sequence[Place]], routes: Mapping[str, Route], running: Sequence[Running]
) -> list[tuple[Route, tuple[ChunkRef, ...]]]:
    """Which pending chunks become jobs now, in the order to submit them: a route and the chunks of each job.

    ``pending`` holds the head of each route's queue, oldest first. A route of higher priority goes first;
    within one priority the oldest chunk goes first, whatever its route. Never more jobs than the model has
    free slots, nor than the route's own cap.
    """
    slots = free_slots(routes.values(), running)
    caps = {name: room(route, routes.values(), running) for name, route in routes.items()}
    waiting = sorted(
        (place for name, places in pending.items() if name in routes for place in places),
        key=lambda place: (-routes[place.route].priority, place.order_key),
    )
    jobs: list[tuple[Route, tuple[ChunkRef, ...]]] = []
    for place in waiting:
        route = routes[place.route]
        model = base_model(route.model_id)
        if slots[model] and caps[route.name]:
            slots[model] -= 1
            caps[route.name] -= 1
            jobs.append((route, (place.ref,)))
    return jobs
