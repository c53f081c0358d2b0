"""Owns the questions how the map stands: counts, what is most needed, what is unresolved."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from services.dependencies.graph import Edge, Node, Reached


def summarise(edges: Iterable[Edge], limit: int) -> dict[str, Any]:
    """Counts of edges and ends, and the ends that most depend on; services and the rest apart."""
    ends: dict[str, Node] = {}
    dependents: dict[str, set[str]] = defaultdict(set)
    by_form: dict[str, int] = defaultdict(int)
    for edge in edges:
        ends |= {edge.from_.key: edge.from_, edge.to.key: edge.to}
        dependents[edge.to.key].add(edge.from_.key)
        by_form[edge.to.form] += 1
    forms = {form: sum(node.form == form for node in ends.values()) for form in _forms(ends)}
    ranked = sorted(dependents, key=lambda key: (-len(dependents[key]), ends[key].name))
    return {
        "dependencies": sum(by_form.values()),
        "dependencies_on": dict(sorted(by_form.items())),
        "ends": forms,
        "resolved_ends": forms.get("service", 0),
        "unresolved_ends": forms.get("unresolved", 0),
        "most_depended_upon": {
            form: [
                {**node_json(ends[key]), "dependents": len(dependents[key])}
                for key in ranked
                if ends[key].form == form
            ][:limit]
            for form in sorted(by_form)
        },
    }


def unresolved(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Every name that no registered service answers to, and the dependencies that use it."""
    used: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        for node in (edge.from_, edge.to):
            if node.form == "unresolved":
                used[node.name].append(edge.dependency)
    return [{"name": name, "dependencies": sorted(used[name])} for name in sorted(used)]


def _forms(ends: dict[str, Node]) -> list[str]:
    return sorted({node.form for node in ends.values()})


def node_json(node: Node) -> dict[str, Any]:
    """An end as it is answered."""
    service = node.key if node.form == "service" else None
    return {"form": node.form, "service": service, "name": node.name}


def reached_json(one: Reached) -> dict[str, Any]:
    """An end that a walk came to, as it is answered."""
    return {"depth": one.depth, "end": node_json(one.node), "through": edge_json(one.through)}


def edge_json(edge: Edge) -> dict[str, Any]:
    """A dependency as it is answered."""
    return {
        "id": edge.dependency,
        "from": node_json(edge.from_),
        "to": node_json(edge.to),
        "kind": edge.kind,
        "criticality": edge.criticality,
    }
