"""The statements of the module's roles as IAM holds them, and policies without a part of one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Statement:
    """One statement: of which role (``create_batch_queue`` … ``bedrock``), in which inline policy, where."""

    role: str
    policy: str
    index: int
    body: Mapping[str, Any]

    @property
    def sid(self) -> str:
        return str(self.body.get("Sid", ""))

    @property
    def name(self) -> str:
        return f"{self.role}.{self.sid}"

    @property
    def actions(self) -> list[str]:
        return listed(self.body.get("Action"))

    @property
    def resources(self) -> list[str]:
        return listed(self.body.get("Resource"))


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


class Roles:
    """The roles' policies. ``names``: the name in IAM of each role."""

    def __init__(self, iam: Any, names: Mapping[str, str]) -> None:
        self._iam = iam
        self.names = dict(names)
        self.documents: dict[str, dict[str, Any]] = {}
        for role, name in names.items():
            policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
            self.documents[role] = {
                policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for policy in policies
            }

    def statements(self) -> list[Statement]:
        return [
            Statement(role, policy, index, body)
            for role, policies in self.documents.items()
            for policy, document in policies.items()
            for index, body in enumerate(document["Statement"])
        ]

    def without(self, statement: Statement, action: str = "", resource: str = "") -> list[dict[str, Any]]:
        """The role's policies without a statement, or with one action or one resource of it less."""
        return list(self._reduced(statement, action, resource).values())

    def without_sid(self, role: str, sid: str) -> list[dict[str, Any]]:
        """The role's policies without the statement of that Sid."""
        documents = copy.deepcopy(self.documents[role])
        for document in documents.values():
            document["Statement"] = [each for each in document["Statement"] if each.get("Sid") != sid]
        return list(documents.values())

    @contextmanager
    def removed(self, statement: Statement) -> Iterator[None]:
        """Takes a statement away from the role, and puts it back."""
        name, usual = self.names[statement.role], self.documents[statement.role]
        reduced = self._reduced(statement, "", "")
        changed = [policy for policy in usual if usual[policy] != reduced[policy]]
        try:
            for policy in changed:
                self._put(name, policy, reduced[policy])
            yield
        finally:
            for policy in changed:
                self._put(name, policy, usual[policy])

    def _put(self, name: str, policy: str, document: dict[str, Any]) -> None:
        self._iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))

    def _reduced(self, statement: Statement, action: str, resource: str) -> dict[str, dict[str, Any]]:
        documents = copy.deepcopy(self.documents[statement.role])
        body = documents[statement.policy]["Statement"][statement.index]
        if action:
            body["Action"] = [each for each in statement.actions if each != action]
        elif resource:
            body["Resource"] = [each for each in statement.resources if each != resource]
        else:
            del documents[statement.policy]["Statement"][statement.index]
        return documents
