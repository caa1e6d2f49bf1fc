"""Host scalars: what a step computes once on the host, and the table it may arrive in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Node

if TYPE_CHECKING:
    from stepforge.frontend.program import EntryPoint, Result


def host_scalars(entry: EntryPoint) -> tuple[Node, ...]:
    """The host arguments' nodes, and the rank-0 nodes that depend on them and on constants only.

    In order of creation. Everything of rank 1 or more belongs to the device.
    """
    host = {x.node for x in entry.arguments if x.storage == "host"}
    fixed: set[Node] = set()
    for node in reachable(x.node for x in entry.results):
        if node.rank or node in host or node.op == "input":
            continue
        if all(x in fixed for x in node.inputs):
            fixed.add(node)
        elif all(x in fixed or x in host for x in node.inputs):
            host.add(node)
    return tuple(sorted(host, key=lambda node: node.id))


def device_results(entry: EntryPoint) -> tuple[Result, ...]:
    """The results that are tensors: all but the new values of host arguments, which come last."""
    host = {x.result for x in entry.arguments if x.storage == "host"}
    return tuple(x for i, x in enumerate(entry.results) if i not in host)


def host_results(entry: EntryPoint) -> tuple[Result, ...]:
    """The new values of host arguments."""
    tensors = device_results(entry)
    return tuple(x for x in entry.results if x not in tensors)


def table_entries(entry: EntryPoint) -> tuple[Node, ...]:
    """The host scalars that device nodes use or outputs are: entry k of the table is node k.

    They are float or bool (which enters as 0 or 1) nodes, in order of creation.
    """
    host = set(host_scalars(entry))
    outputs = [x.node for x in device_results(entry)]
    device = [node for node in reachable(outputs) if node not in host]
    used = {x for node in device for x in node.inputs if x in host}
    used.update(node for node in outputs if node in host)
    return tuple(sorted(used, key=lambda node: node.id))
