"""Messages on the wire, and what is done where they take their time: through a counting proxy."""

from dataclasses import replace
from typing import Any

from userharbor.interfaces import UserStore

from support.calls import CALLS
from support.proxy import Proxy, proxy_of
from userharbor_sqlalchemy import metadata

from .backends import Backend
from .flows import flows
from .methods import steps
from .stores import OURS, stores
from .timing import Section, in_turns

ROUND_TRIPS = (0.0, 0.5, 2.0)
"""In milliseconds, beside what loopback and the proxy take."""


def latency(backend: Backend, rounds: int) -> dict[str, Section]:
    """Each method at each round-trip time, and the flows at the longest; a third as many rounds."""
    if backend.name == "sqlite":
        return {}
    sections: dict[str, Section] = {}
    rounds = max(rounds // 3, 2)
    with proxy_of(backend.url) as proxy:
        away = replace(backend, url=proxy.url)
        engines = [away.engine(), away.engine()]
        metadata.create_all(engines[0])
        both = stores(*engines)
        for milliseconds in ROUND_TRIPS:
            proxy.round_trip = milliseconds / 1000
            name = f"latency {milliseconds:g} ms"
            sections[name] = in_turns(steps(both), OURS, rounds, calls=3)
        sections[f"flows {ROUND_TRIPS[-1]:g} ms"] = flows(away, rounds, calls=3)["flows"]
        proxy.round_trip = 0.0
        sections["messages"] = _messages(proxy, both)
        for engine in engines:
            engine.dispose()
    return sections


def _messages(proxy: Proxy, both: dict[str, UserStore[Any]]) -> Section:
    """How many messages each method is, as if each took a microsecond."""
    section = Section(OURS)
    for method, call in CALLS:
        for name, store in both.items():
            before = proxy.messages
            call(store, f"{name}_counted")
            section.add(method, name, (proxy.messages - before) / 1e6)
    return section
