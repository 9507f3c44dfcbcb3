"""Ways through the records of a graph."""

from collections import deque
from itertools import pairwise

from lab.doctor.records import NodeRecord


def carried(root: NodeRecord | None, record: NodeRecord) -> tuple[NodeRecord | None, NodeRecord | None]:
    """The edge between the graph of an earlier backward and the one of `root`: the carrier and its consumer.

    Nothing where `root` itself was made before that backward: both backwards then run one graph.
    """
    if root is None or root.tick < record.released_tick:
        return None, None
    for consumer, carrier in pairwise(path(root, record)):
        if consumer.tick >= record.released_tick > carrier.tick:
            return carrier, consumer
    return record, None


def ancestors(record: NodeRecord) -> list[NodeRecord]:
    """The record, and those behind it."""
    found = {id(record): record}
    queue = [record]
    while queue:
        for parent in queue.pop().parents:
            if id(parent) not in found:
                found[id(parent)] = parent
                queue.append(parent)
    return list(found.values())


def path(start: NodeRecord, goal: NodeRecord) -> list[NodeRecord]:
    """Records from `start` to `goal` through parents; empty where no way leads there."""
    got: dict[int, NodeRecord | None] = {id(start): None}
    queue = deque([start])
    while queue:
        record = queue.popleft()
        if record is goal:
            way = [record]
            while (previous := got[id(way[-1])]) is not None:
                way.append(previous)
            return way[::-1]
        for parent in record.parents:
            if id(parent) not in got:
                got[id(parent)] = record
                queue.append(parent)
    return []
