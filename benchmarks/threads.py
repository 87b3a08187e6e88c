"""Reads from several threads on one engine."""

from threading import Barrier, Event, Thread
from time import perf_counter, sleep
from typing import Any

from samples import new_token, new_user
from userharbor.interfaces import UserStore

from userharbor_sqlalchemy import metadata

from .backends import Backend
from .stores import OURS, stores
from .timing import Section

THREADS = (1, 4, 16)


def threads(backend: Backend, rounds: int) -> dict[str, Section]:
    """Seconds for each read of all threads together; a third as many rounds, of half a second."""
    options = {"pool_size": max(THREADS), "max_overflow": 0}
    engines = [backend.engine(**options), backend.engine(**options)]
    metadata.create_all(engines[0])
    both = stores(*engines)
    both[OURS].create_user(new_user("jane"))
    both[OURS].add_session(new_token("jane"))
    section = Section(OURS)
    for _ in range(max(rounds // 3, 2)):
        for number in THREADS:
            for name, store in both.items():
                section.add(str(number), name, 1 / _reads_a_second(store, number))
    both[OURS].delete_user("jane")
    for engine in engines:
        engine.dispose()
    return {"threads": section}


def _reads_a_second(store: UserStore[Any], number: int, seconds: float = 0.5) -> float:
    ready, over = Barrier(number + 1), Event()
    counts: list[int] = []

    def work() -> None:
        _read(store)
        ready.wait()
        count = 0
        while not over.is_set():
            _read(store)
            count += 2
        counts.append(count)

    workers = [Thread(target=work) for _ in range(number)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = perf_counter()
    sleep(seconds)
    over.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (perf_counter() - started)


def _read(store: UserStore[Any]) -> None:
    """What each authenticated request reads."""
    store.get_session("jane")
    store.get_user_by_username("jane")
