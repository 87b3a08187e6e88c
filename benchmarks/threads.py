"""Reads from several threads on one engine."""

from collections.abc import Callable
from threading import Barrier, Event, Thread
from time import perf_counter, sleep
from typing import Any

from userharbor.interfaces import UserStore

from support.samples import new_token, new_user
from userharbor_sqlalchemy import metadata

from .backends import Backend
from .methods import CORE, QUERIES, by_core
from .stores import OURS, stores
from .timing import Section

THREADS = (1, 4, 16)

Read = Callable[[str], object]


def threads(backend: Backend, rounds: int) -> dict[str, Section]:
    """Seconds for each read of all threads together; a third as many rounds, of half a second."""
    options = {"pool_size": max(THREADS), "max_overflow": 0}
    engines = [backend.engine(**options) for _ in range(3)]
    metadata.create_all(engines[0])
    both = stores(*engines[:2])
    both[OURS].create_user(new_user("jane"))
    both[OURS].add_session(new_token("jane"))
    contenders = {
        CORE: [by_core(engines[2], query) for query in QUERIES.values()],
        **{name: _of_each_request(store) for name, store in both.items()},
    }
    section = Section(OURS)
    for _ in range(max(rounds // 3, 2)):
        for number in THREADS:
            for name, reads in contenders.items():
                section.add(str(number), name, 1 / _reads_a_second(reads, number))
    both[OURS].delete_user("jane")
    for engine in engines:
        engine.dispose()
    return {"threads": section}


def _of_each_request(store: UserStore[Any]) -> list[Read]:
    return [getattr(store, method) for method in QUERIES]


def _reads_a_second(reads: list[Read], number: int, seconds: float = 0.5) -> float:
    ready, over = Barrier(number + 1), Event()
    counts: list[int] = []

    def work() -> None:
        for read in reads:
            read("jane")
        ready.wait()
        count = 0
        while not over.is_set():
            for read in reads:
                read("jane")
            count += len(reads)
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
