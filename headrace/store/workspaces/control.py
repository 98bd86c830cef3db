"""The control plane of Amazon Managed Service for Prometheus: one answer for one request, without a transport.

Whoever serves it has checked signature and policies before. Each call is one transaction of the `Registry`. What a
change means for the data is told to `Hooks`, outside the transaction; a process that dies in between takes the work up
again by `ControlPlane.settle` at its next start.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from headrace.pipeline.errors import HeadraceError, StoreFailed
from headrace.store.workspaces.arns import parse_arn, workspace_arn
from headrace.store.workspaces.errors import (
    ConflictException,
    InternalServerException,
    Reason,
    ResourceNotFoundException,
    ServiceQuotaExceededException,
    ThrottlingException,
    ValidationException,
)
from headrace.store.workspaces.registry import ConfigurationStatus, Policy, Status, StoredAnswer
from headrace.store.workspaces.validation import MAX_TAGS, Arguments, invalid_fields, read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.store.workspaces.operations import Operation
    from headrace.store.workspaces.registry import Registry, Transaction, Workspace

NO_POLICY = "NO_POLICY"
"""The revision id that says: there is no resource policy yet."""
DEFAULT_PAGE = 100
NS_PER_S = 1_000_000_000
WORKSPACE = "workspace"

Answer = dict[str, object] | None
"""The JSON body of a success; None where the model has none."""

_log = logging.getLogger(__name__)


class Hooks(Protocol):
    """What the data plane does when workspaces change.

    The calls come outside any transaction, from the thread of the request or of `ControlPlane.settle`. Each may come
    twice for the same change, after a crash in between.
    """

    def create(self, workspace_id: str) -> None:
        """Make room for a workspace; it is ACTIVE when this returns and CREATION_FAILED when it raises."""

    def configure(self, workspace_id: str, retention_days: int, out_of_order_s: int) -> None:
        """Put a configuration in force; it is ACTIVE when this returns and UPDATE_FAILED when it raises."""

    def delete(self, workspace_id: str) -> None:
        """Begin to remove the data, without waiting; whoever has removed it calls `ControlPlane.deleted`."""


@dataclass(frozen=True)
class Limits:
    """Limits and defaults of an account."""

    max_workspaces: int = 25
    """Workspaces at a time; those in DELETING do not count."""
    retention_days: int = 150
    """Of a new workspace."""
    out_of_order_s: int = 60
    """Of a new workspace."""
    token_age_s: int = 24 * 3600
    """How long the answer to an idempotency token is kept."""
    max_tokens: int = 100_000
    """How many answers are kept; beyond that, new tokens are throttled until older ones are forgotten."""


class ControlPlane:
    """Answer the operations of the control plane.

    Args:
        registry: Keeps the workspaces.
        account: Twelve digits.
        region: Such as ``eu-central-1``.
        endpoint_of: Gives the URL of a workspace's data plane, ending with a slash.
        clock_ns: Nanoseconds since the epoch.
        hooks: Told about changes.
        parse_policy: Raises a `HeadraceError` or `ValueError` whose text says what is wrong with a resource policy.
        limits: Limits and defaults.
    """

    def __init__(
        self,
        registry: Registry,
        account: str,
        region: str,
        endpoint_of: Callable[[str], str],
        clock_ns: Callable[[], int],
        hooks: Hooks,
        *,
        parse_policy: Callable[[str], object],
        limits: Limits | None = None,
    ) -> None:
        self._registry = registry
        self._account = account
        self._region = region
        self._endpoint_of = endpoint_of
        self._clock_ns = clock_ns
        self._hooks = hooks
        self._parse_policy = parse_policy
        self._limits = Limits() if limits is None else limits
        self._reads: dict[str, Callable[[Arguments], Answer]] = {
            "DescribeWorkspace": self._describe_workspace,
            "ListWorkspaces": self._list_workspaces,
            "ListTagsForResource": self._list_tags,
            "DescribeWorkspaceConfiguration": self._describe_configuration,
            "DescribeResourcePolicy": self._describe_policy,
        }
        self._changes: dict[str, Callable[[Transaction, Arguments], Answer]] = {
            "CreateWorkspace": self._create_workspace,
            "UpdateWorkspaceAlias": self._update_alias,
            "DeleteWorkspace": self._delete_workspace,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "UpdateWorkspaceConfiguration": self._update_configuration,
            "PutResourcePolicy": self._put_policy,
            "DeleteResourcePolicy": self._delete_policy,
        }

    def call(
        self,
        operation: Operation,
        params: Mapping[str, str],
        query: Sequence[tuple[str, str]],
        body: bytes,
        caller_arn: str,
    ) -> tuple[int, Answer]:
        """Carry out one operation.

        Args:
            operation: What `operations.find` found.
            params: The parameters it found.
            query: The decoded parameters of the query string, in order.
            body: As it came.
            caller_arn: Who asks; idempotency tokens of different callers have nothing to do with each other.

        Returns:
            The HTTP status and the JSON body; None for an empty one.

        Raises:
            AmpError: Any answer but success.
        """
        if not operation.supported:
            raise ValidationException(f"operation {operation.name} is not supported", Reason.UNKNOWN_OPERATION)
        arguments = read_arguments(operation, params, query, body)
        read = self._reads.get(operation.name)
        if read is not None:
            return operation.status, read(arguments)
        try:
            answer, touched = self._change(operation.name, arguments, caller_arn)
        except StoreFailed as error:
            _log.exception("%s failed", operation.name)
            raise InternalServerException("the workspace registry cannot be written") from error
        for workspace in touched:
            self._settle(workspace)
        return operation.status, answer

    def settle(self) -> None:
        """Take up what an earlier process did not finish: creations, configurations and deletions."""
        for workspace in self._registry.workspaces():
            self._settle(workspace)

    def pending_deletions(self) -> list[str]:
        """Return the ids of the workspaces whose data is to be removed."""
        return [workspace.id for workspace in self._registry.workspaces() if workspace.status is Status.DELETING]

    def deleted(self, workspace_id: str) -> None:
        """Take note that the data of a workspace in DELETING is gone: so is the workspace. Safe to call twice."""
        with self._registry.transaction() as transaction:
            workspace = transaction.get(workspace_id)
            if workspace is None:
                return
            assert workspace.status is Status.DELETING, f"bug: {workspace_id} was not being deleted"
            transaction.remove(workspace_id)

    def _change(self, name: str, arguments: Arguments, caller: str) -> tuple[Answer, list[Workspace]]:
        token = arguments.optional_text("clientToken")
        now_ns = self._clock_ns()
        with self._registry.transaction() as transaction:
            if token is not None:
                stored = transaction.answer_to(caller, name, token)
                if stored is not None:
                    return _repeated(stored, arguments, token), []
                self._make_room(transaction, now_ns)
            answer = self._changes[name](transaction, arguments)
            if token is not None:
                kept = StoredAnswer(arguments.digest(), json.dumps(answer))
                transaction.keep_answer(caller, name, token, kept, now_ns)
            return answer, [workspace for workspace in transaction.changed.values() if workspace is not None]

    def _make_room(self, transaction: Transaction, now_ns: int) -> None:
        kept = transaction.forget_answers_before(now_ns - self._limits.token_age_s * NS_PER_S)
        if kept >= self._limits.max_tokens:
            raise ThrottlingException

    # What changes set in motion.

    def _settle(self, workspace: Workspace) -> None:
        if workspace.status is Status.CREATING:
            done = self._tell(workspace.id, lambda: self._hooks.create(workspace.id))
            self._finish_creation(workspace.id, Status.ACTIVE if done else Status.CREATION_FAILED)
        elif workspace.status is Status.DELETING:
            self._tell(workspace.id, lambda: self._hooks.delete(workspace.id))
        elif workspace.configuration_status is ConfigurationStatus.UPDATING:
            days, window_s = workspace.retention_days, workspace.out_of_order_s
            done = self._tell(workspace.id, lambda: self._hooks.configure(workspace.id, days, window_s))
            outcome = ConfigurationStatus.ACTIVE if done else ConfigurationStatus.UPDATE_FAILED
            self._finish_configuration(workspace.id, outcome)

    def _tell(self, workspace_id: str, hook: Callable[[], None]) -> bool:
        try:
            hook()
        except Exception:  # noqa: BLE001 -- the request is durable: what the data plane makes of it becomes a status
            _log.exception("workspace %s: the data plane failed", workspace_id)
            return False
        return True

    def _finish_creation(self, workspace_id: str, status: Status) -> None:
        with self._registry.transaction() as transaction:
            workspace = transaction.get(workspace_id)
            if workspace is not None and workspace.status is Status.CREATING:
                transaction.set_status(workspace, status)

    def _finish_configuration(self, workspace_id: str, status: ConfigurationStatus) -> None:
        with self._registry.transaction() as transaction:
            workspace = transaction.get(workspace_id)
            if workspace is None or workspace.configuration_status is not ConfigurationStatus.UPDATING:
                return
            transaction.set_configuration(workspace, status, workspace.retention_days, workspace.out_of_order_s)
            if workspace.status is Status.UPDATING:
                transaction.set_status(transaction.require(workspace_id), Status.ACTIVE)

    # Workspaces.

    def _create_workspace(self, transaction: Transaction, arguments: Arguments) -> Answer:
        alive = [one for one in self._registry.workspaces() if one.status is not Status.DELETING]
        if len(alive) >= self._limits.max_workspaces:
            message = "Limit exceeded. Maximum workspaces per account."
            raise ServiceQuotaExceededException(message, "", WORKSPACE)
        workspace = transaction.create(
            f"ws-{uuid.uuid4()}",
            arguments.optional_text("alias"),
            arguments.tags(),
            self._clock_ns(),
            self._limits.retention_days,
            self._limits.out_of_order_s,
        )
        return {
            "workspaceId": workspace.id,
            "arn": self._arn(workspace),
            "status": {"statusCode": workspace.status.value},
            "tags": dict(workspace.tags),
        }

    def _describe_workspace(self, arguments: Arguments) -> Answer:
        workspace = _known(self._registry.get, arguments.text("workspaceId"))
        summary = self._summary(workspace)
        return {"workspace": {**summary, "prometheusEndpoint": self._endpoint_of(workspace.id)}}

    def _list_workspaces(self, arguments: Arguments) -> Answer:
        prefix = arguments.optional_text("alias") or ""
        after = _after(arguments.optional_text("nextToken"), prefix)
        most = arguments.optional_integer("maxResults") or DEFAULT_PAGE
        found = [
            workspace
            for workspace in self._registry.workspaces()
            if workspace.sequence > after and (workspace.alias or "").startswith(prefix)
        ]
        page = found[:most]
        answer: dict[str, object] = {"workspaces": [self._summary(workspace) for workspace in page]}
        if len(found) > most:
            answer["nextToken"] = _next_token(page[-1].sequence, prefix)
        return answer

    def _update_alias(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _steady(_known(transaction.get, arguments.text("workspaceId")))
        transaction.set_alias(workspace, arguments.optional_text("alias"))
        return None

    def _delete_workspace(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _known(transaction.get, arguments.text("workspaceId"))
        if workspace.status is not Status.CREATION_FAILED:
            _steady(workspace)
        transaction.set_status(workspace, Status.DELETING)
        return None

    def _summary(self, workspace: Workspace) -> dict[str, object]:
        summary: dict[str, object] = {
            "workspaceId": workspace.id,
            "arn": self._arn(workspace),
            "status": {"statusCode": workspace.status.value},
            "createdAt": workspace.created_at_ns / NS_PER_S,
            "tags": dict(workspace.tags),
        }
        if workspace.alias is not None:
            summary["alias"] = workspace.alias
        return summary

    def _arn(self, workspace: Workspace) -> str:
        return workspace_arn(self._region, self._account, workspace.id)

    # Tags.

    def _list_tags(self, arguments: Arguments) -> Answer:
        workspace = self._named(self._registry.get, arguments.text("resourceArn"))
        return {"tags": dict(workspace.tags)}

    def _tag(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _staying(self._named(transaction.get, arguments.text("resourceArn")))
        tags = {**workspace.tags, **arguments.tags()}
        if len(tags) > MAX_TAGS:
            text = f"the resource would have {len(tags)} tags, limit {MAX_TAGS}"
            raise invalid_fields([("tags", text)])
        transaction.set_tags(workspace, tags)
        return {}

    def _untag(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _staying(self._named(transaction.get, arguments.text("resourceArn")))
        gone = set(arguments.tag_keys())
        transaction.set_tags(workspace, {key: value for key, value in workspace.tags.items() if key not in gone})
        return {}

    def _named(self, find: Callable[[str], Workspace | None], resource_arn: str) -> Workspace:
        arn = parse_arn(resource_arn)
        if arn is None:
            raise invalid_fields([("resourceArn", f"'{resource_arn}' is no ARN of a resource of this service")])
        ours = arn == parse_arn(workspace_arn(self._region, self._account, arn.name))
        if not ours:
            raise ResourceNotFoundException("Resource not found", resource_arn, arn.kind)
        return _known(find, arn.name)

    # Configuration.

    def _describe_configuration(self, arguments: Arguments) -> Answer:
        workspace = _known(self._registry.get, arguments.text("workspaceId"))
        status: dict[str, object] = {"statusCode": workspace.configuration_status.value}
        if workspace.configuration_status is ConfigurationStatus.UPDATE_FAILED:
            status["statusReason"] = "the data plane did not take the configuration"
        configuration = {
            "status": status,
            "retentionPeriodInDays": workspace.retention_days,
            "outOfOrderTimeWindowInSeconds": workspace.out_of_order_s,
        }
        return {"workspaceConfiguration": configuration}

    def _update_configuration(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _steady(_known(transaction.get, arguments.text("workspaceId")))
        retention_days = arguments.optional_integer("retentionPeriodInDays")
        out_of_order_s = arguments.optional_integer("outOfOrderTimeWindowInSeconds")
        changed = transaction.set_configuration(
            workspace,
            ConfigurationStatus.UPDATING,
            workspace.retention_days if retention_days is None else retention_days,
            workspace.out_of_order_s if out_of_order_s is None else out_of_order_s,
        )
        transaction.set_status(changed, Status.UPDATING)
        return {"status": {"statusCode": ConfigurationStatus.UPDATING.value}}

    # Resource policies.

    def _describe_policy(self, arguments: Arguments) -> Answer:
        policy = _policy(_known(self._registry.get, arguments.text("workspaceId")))
        return {"policyDocument": policy.document, "policyStatus": "ACTIVE", "revisionId": policy.revision_id}

    def _put_policy(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _steady(_known(transaction.get, arguments.text("workspaceId")))
        document = arguments.text("policyDocument")
        try:
            self._parse_policy(document)
        except (HeadraceError, ValueError) as error:
            raise invalid_fields([("policyDocument", str(error))]) from error
        _check_revision(workspace, arguments)
        policy = Policy(document, str(uuid.uuid4()))
        transaction.set_policy(workspace, policy)
        status = "CREATING" if workspace.policy is None else "UPDATING"
        return {"policyStatus": status, "revisionId": policy.revision_id}

    def _delete_policy(self, transaction: Transaction, arguments: Arguments) -> Answer:
        workspace = _steady(_known(transaction.get, arguments.text("workspaceId")))
        _policy(workspace)
        _check_revision(workspace, arguments)
        transaction.set_policy(workspace, None)
        return None


def _repeated(stored: StoredAnswer, arguments: Arguments, token: str) -> Answer:
    if stored.digest != arguments.digest():
        message = "the client token was used before, with other arguments"
        raise ConflictException(message, token, "clientToken")
    answer: Answer = json.loads(stored.answer)
    return answer


def _known(find: Callable[[str], Workspace | None], workspace_id: str) -> Workspace:
    workspace = find(workspace_id)
    if workspace is None:
        raise ResourceNotFoundException("Workspace not found", workspace_id, WORKSPACE)
    return workspace


def _steady(workspace: Workspace) -> Workspace:
    """Return a workspace that may change; refuse one that is on its way to another state."""
    if workspace.status is not Status.ACTIVE:
        raise _wrong_state(workspace)
    return workspace


def _staying(workspace: Workspace) -> Workspace:
    """Return a workspace; refuse one that is being deleted."""
    if workspace.status is Status.DELETING:
        raise _wrong_state(workspace)
    return workspace


def _wrong_state(workspace: Workspace) -> ConflictException:
    return ConflictException(f"the workspace is in status {workspace.status.value}", workspace.id, WORKSPACE)


def _policy(workspace: Workspace) -> Policy:
    if workspace.policy is None:
        raise ResourceNotFoundException("the workspace has no resource policy", workspace.id, "policy")
    return workspace.policy


def _check_revision(workspace: Workspace, arguments: Arguments) -> None:
    """Refuse a change that was made up on another revision than there is; without a revision id any will do."""
    expected = arguments.optional_text("revisionId")
    current = NO_POLICY if workspace.policy is None else workspace.policy.revision_id
    if expected is not None and expected != current:
        raise ConflictException(f"the revision of the policy is {current}, not {expected}", workspace.id, "policy")


def _next_token(sequence: int, prefix: str) -> str:
    content = json.dumps([sequence, zlib.crc32(prefix.encode())]).encode()
    return base64.urlsafe_b64encode(content + zlib.crc32(content).to_bytes(4, "big")).decode()


def _after(token: str | None, prefix: str) -> int:
    """Return the place after which a page begins; an empty token is the same as none."""
    if not token:
        return 0
    try:
        packed = base64.b64decode(token, altchars=b"-_", validate=True)
        content, checksum = packed[:-4], packed[-4:]
        sequence, asked = json.loads(content) if zlib.crc32(content).to_bytes(4, "big") == checksum else (None, None)
    except (binascii.Error, ValueError, TypeError):
        sequence, asked = None, None
    if not isinstance(sequence, int) or asked != zlib.crc32(prefix.encode()):
        raise invalid_fields([("nextToken", "Value at 'nextToken' is no token of an earlier answer to this request")])
    return sequence
