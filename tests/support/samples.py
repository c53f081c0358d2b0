"""Owns one full example of the data of every event type, by type, old versions too.

Must name every member of every model at least once, so that golden samples show all of them.
"""

from typing import Any, Final

from tests.support.builders import CABINET, LICENCES, PUBLISHING, TEAM, TREASURY

DATA_SAMPLES: Final[dict[str, dict[str, Any]]] = {
    "estate.organisation.registered.v1": {
        "name": "Swyddfa'r Cabinet — Cabinet Office",
        "kind": "department",
        "slug": "cabinet-office",
        "parent": TREASURY,
        "aliases": ["hr:9", "crm:Ünï 1"],
        "reason": "first mapping",
        "corrects": [7],
    },
    "estate.organisation.renamed.v1": {"name": "Cabinet Office", "reason": "said so"},
    "estate.service.registered.v1": {
        "name": "Licence Finder",
        "kind": "user-facing-service",
        "slug": "licence-finder",
        "organisation": CABINET,
        "registrant": CABINET,
        "phase": "live",
        "visibility": "public",
        "description": "Finds licences\nfor a business, £ or not.",
        "aliases": ["govuk-repos:licence-finder"],
        "attributes": {
            "source": "govuk-repos",
            "set": {"hosted_on": "eks", "retired": False, "deps": [1, {"a": None}]},
            "unset": ["old"],
        },
        "reason": "first mapping",
    },
    "estate.service.details_changed.v1": {
        "name": "Find a licence",
        "kind": "component",
        "description": None,
        "attributes": {"source": "govuk-repos", "set": {"hosted_on": "paas"}, "unset": ["deps"]},
    },
    "estate.service.moved.v1": {"organisation": TREASURY, "from_organisation": CABINET},
    "estate.service.phase_changed.v1": {"phase": None, "reason": "nobody knows"},
    "estate.service.delisted.v1": {"reason": "gone from the list"},
    "estate.service.reinstated.v1": {},
    "estate.service.retired.v1": {"successor": PUBLISHING},
    "estate.service.alias_added.v1": {"alias": "govuk-docker:licence-finder"},
    "estate.service.visibility_set.v1": {"public": True, "reason": "open by default"},
    "estate.service.visibility_set.v2": {"visibility": "internal"},
    "estate.service.role_assigned.v1": {
        "role": "owning-team",
        "holder": TEAM,
        "previous_holder": None,
    },
    "estate.service.role_vacated.v1": {"role": "product-manager", "holder": "contact:c-204"},
    "estate.dependency.declared.v1": {
        "from": LICENCES,
        "to": {"external": "Companies House", "kind": "supplier"},
        "kind": "uses-api",
        "criticality": "high",
        "alias": "govuk-docker:licence-finder/companies-house",
        "declarant": CABINET,
    },
    "estate.dependency.changed.v1": {"kind": "data", "criticality": None},
    "estate.dependency.withdrawn.v1": {"reason": "moved"},
}
