"""Decide about each request: whose signature it carries, and whether that user's policies allow what it asks for."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from headrace.extensions.access_call import Call
from headrace.pipeline.errors import HeadraceError
from headrace.pipeline.http.auth import Denied, Principal, Unauthenticated
from headrace.pipeline.http.endpoint import is_loopback_host
from headrace.pipeline.sigv4 import errors as sigv4_errors
from headrace.pipeline.sigv4.canonical import Head
from headrace.pipeline.sigv4.claim import is_signed, read_claim
from headrace.pipeline.sigv4.diagnose import diagnose
from headrace.pipeline.sigv4.errors import SignatureRefused
from headrace.store.access.evaluate import AccessRequest, Effect, considered, evaluate
from headrace.store.access.grace import Asked
from headrace.store.access.policy import Policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.extensions.access_call import Account, Target
    from headrace.extensions.access_trail import Trail
    from headrace.pipeline.http.auth import Authenticator
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.workspaces import WorkspaceDirectory
    from headrace.store.access.evaluate import Verdict
    from headrace.store.access.grace import Grace
    from headrace.store.access.identities import Identities, Identity
    from headrace.store.access.principals import AccessKey
    from headrace.store.access.signatures import Attempt, Signatures

_log = logging.getLogger("headrace.access")

_RETRY_S = 5
_DIAGNOSES_PER_S = 10
_MAX_REMEMBERED = 10_000
_NO_TAGS: Mapping[str, str] = {}
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


class AccessGate:
    """The `Gate` of the ``access`` extension.

    Args:
        account: Whose resources are served.
        identities: Users with keys and policies.
        signatures: Checks signatures.
        grace: What was allowed a moment ago.
        trail: Takes the audit records.
        loopback_only: Ids of access keys that are good on loopback alone.
        clock_ns: Unix time.
        monotonic_s: Seconds that never go back.
    """

    def __init__(
        self,
        account: Account,
        identities: Identities,
        signatures: Signatures,
        grace: Grace,
        trail: Trail,
        loopback_only: frozenset[str],
        clock_ns: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._account = account
        self._identities = identities
        self._signatures = signatures
        self._grace = grace
        self._trail = trail
        self._loopback_only = loopback_only
        self._clock_ns = clock_ns
        self._monotonic_s = monotonic_s
        self._policies: dict[str, tuple[str, Policy]] = {}
        self._allowed: dict[tuple[str, str, str], tuple[Identity, Policy | None]] = {}
        self._principals: dict[str, Principal] = {}
        self._diagnosed = (0, 0)
        self.directory: Callable[[], WorkspaceDirectory | None] = lambda: None
        """Gives the managed workspaces."""
        self.authenticators: Sequence[tuple[Authenticator, str]] = ()
        """Others to ask about requests without a signature, each with the user that it stands for, or nothing."""
        self.mtls = False
        """Whether a client certificate stands for a user."""

    async def admit(self, request: Request, action: str | None) -> Principal:
        """Let a request pass, or raise; see `Gate`."""
        call = Call(request, self._account.target(request, action), self._clock_ns())
        request.on_answer(lambda status: self._trail.answered(call, status))
        key = None
        try:
            key = await self._authenticate(call)
        except SignatureRefused as error:
            raise self._denied(call, 403, error.code, error.message) from None
        except Unauthenticated as error:
            call.error, call.message = "UnauthorizedException", error.why
            call.detail = {"diagnosis": {"field": "authorization", "why": error.why}}
            raise
        if call.target.action:
            await self._authorise(call, key)
        identity = call.identity
        if identity is None:
            raise AssertionError("bug: authenticated as nobody")
        if call.target.operation is None:
            return self._principal(identity)
        return Principal(identity.user.name, "access", {"arn": identity.arn, "request_id": call.request_id})

    def _principal(self, identity: Identity) -> Principal:
        found = self._principals.get(identity.arn)
        if found is None:
            found = self._principals[identity.arn] = Principal(identity.user.name, "access", {"arn": identity.arn})
        return found

    # -- who -----------------------------------------------------------------------------------------------

    async def _authenticate(self, call: Call) -> AccessKey | None:
        """Find out who asks; return the access key that signed, None for another proof."""
        request = call.request
        head = Head(request.method, request.path, request.query_string, request.headers)
        if not is_signed(head):
            call.identity = await self._unsigned(call)
            return None
        try:
            attempt = self._signatures.begin(head)
        except SignatureRefused as error:
            call.detail = {"diagnosis": {"field": error.field, "why": error.message}}
            self._note_claim(call, head, error)
            raise
        key = attempt.key
        call.claim_key(key.id)
        call.detail = {"claimedUser": key.user}
        if key.id in self._loopback_only and not _from_this_machine(request):
            call.detail = {
                **call.detail,
                "diagnosis": {"field": "access key", "why": "this key is good on loopback alone"},
            }
            raise sigv4_errors.unknown_key()
        body = await request.body()
        try:
            self._signatures.finish(attempt, head, body)
        except SignatureRefused as error:
            call.detail = {**call.detail, "diagnosis": self._diagnosis(head, attempt, body, error)}
            raise
        call.detail = {}
        call.identity = self._identities.find(key.user)
        if call.identity is None:
            call.detail = {"diagnosis": {"field": "access key", "why": f"its user {key.user} does not exist"}}
            raise sigv4_errors.unknown_key()
        if self._signatures.expired(key):
            call.detail = {"diagnosis": {"field": "session token", "why": "the temporary credentials are over"}}
            over = sigv4_errors.expired_token()
            if self._grace.covers(_asked(call, key)):
                raise self._later(call, over.code, over.message)
            raise over
        return key

    def _note_claim(self, call: Call, head: Head, error: SignatureRefused) -> None:
        """Say for whoever reads the log what the sender is not told; nothing is proved by it, and nothing granted."""
        try:
            call.claim_key(read_claim(head).access_key)
        except SignatureRefused:
            return
        key = self._identities.key(call.key_id)
        if key is not None:
            call.detail = {**call.detail, "claimedUser": key.user}
        if error.code != sigv4_errors.unknown_key().code:
            return
        if key is None:
            finding = {"field": "access key", "why": "nobody has this access key"}
        elif not key.active:
            finding = {"field": "access key", "why": "this access key is out of use"}
        else:
            finding = {"field": "session token", "why": "the session token is missing or not that of this access key"}
        call.detail = {**call.detail, "diagnosis": finding}

    async def _unsigned(self, call: Call) -> Identity:
        request = call.request
        subject = request.peer.subject
        if self.mtls and subject is not None:
            return self._named(subject)
        refusal: Unauthenticated | None = None
        for authenticator, user in self.authenticators:
            try:
                principal = await authenticator.authenticate(request.headers, request.peer)
            except Unauthenticated as error:
                refusal = refusal or error
                continue
            return self._named(user or principal.name)
        if refusal is not None:
            raise refusal
        missing = sigv4_errors.missing()
        call.detail = {"diagnosis": {"field": missing.field, "why": "the request carries no signature"}}
        raise missing

    def _named(self, name: str) -> Identity:
        found = self._identities.find(name)
        if found is None:
            raise Unauthenticated("the credentials belong to no user of this account")
        return found

    def _diagnosis(self, head: Head, attempt: Attempt, body: bytes, error: SignatureRefused) -> Mapping[str, str]:
        second = int(self._monotonic_s())
        count = self._diagnosed[1] + 1 if self._diagnosed[0] == second else 1
        self._diagnosed = (second, count)
        if error.field != "signature" or count > _DIAGNOSES_PER_S:
            why = error.message.partition("\n")[0]
            return {"field": error.field, "why": why if count <= _DIAGNOSES_PER_S else f"{why} (not looked into)"}
        directory = self.directory()
        found = diagnose(
            head,
            attempt.claim,
            attempt.key.secret,
            body,
            workspaces=directory.ids() if directory is not None else (),
            other_secrets=self._identities.secrets(),
        )
        return {"field": found.field, "why": found.why}

    # -- may -----------------------------------------------------------------------------------------------

    async def _authorise(self, call: Call, key: AccessKey | None) -> None:
        target, identity = call.target, call.identity
        if identity is None:
            raise AssertionError("bug: authorised as nobody")
        directory = self.directory()
        workspace = directory.find(target.workspace) if directory is not None and target.workspace else None
        policy = self._resource_policy(target.workspace, workspace.policy if workspace is not None else None)
        # Equal for all requests of a sender, where no statement looks at more than these.
        known = self._allowed.get((identity.arn, target.action, target.resource))
        if known is not None and known[0] is identity and known[1] is policy:
            if key is not None:
                self._grace.allowed(_asked(call, key))
            return
        context = call.context(workspace.tags if workspace is not None else _NO_TAGS, self._account.region)
        await call.tag_context(context)
        asked = AccessRequest(identity.arn, self._account.id, target.action, target.resource, context)
        verdict = evaluate(identity.policies, policy, asked, target.account)
        if verdict.allowed:
            if all(one.ignores_context for one in (*identity.policies, *([policy] if policy is not None else []))):
                self._remember(target, identity, policy)
            if key is not None:
                self._grace.allowed(_asked(call, key))
            return
        call.detail = {"decision": _decision(verdict, identity, policy, asked)}
        text = f"User: {identity.arn} is not authorized to perform: {target.action} on resource: {target.resource}"
        covered = key is not None and self._grace.covers(_asked(call, key))
        if verdict.effect is Effect.IMPLICIT_DENY and covered:
            raise self._later(call, "AccessDeniedException", text)
        # As each plane's clients know it: by the service model, and by what AMP's data plane answers.
        member = "message" if target.operation is not None else "Message"
        raise self._denied(call, 403, "AccessDeniedException", text, member)

    def _remember(self, target: Target, identity: Identity, policy: Policy | None) -> None:
        if len(self._allowed) >= _MAX_REMEMBERED:
            self._allowed.clear()
        # The objects themselves are compared: a change of users or policies puts others in their place.
        self._allowed[identity.arn, target.action, target.resource] = (identity, policy)

    def _resource_policy(self, workspace: str, document: str | None) -> Policy | None:
        if document is None:
            self._policies.pop(workspace, None)
            return None
        known = self._policies.get(workspace)
        if known is None or known[0] is not document:
            try:
                policy = parse_policy(document, "resource policy", resource_policy=True)
            except HeadraceError as error:
                _log.error("resource policy of %s cannot be read, nothing is allowed: %s", workspace, error)
                policy = parse_policy(_NOTHING, "resource policy", resource_policy=True)
            known = self._policies[workspace] = (document, policy)
        return known[1]

    # -- no ------------------------------------------------------------------------------------------------

    def _denied(self, call: Call, status: int, code: str, message: str, member: str = "message") -> Denied:
        call.error = code
        # What follows holds the canonical request, and with it what was signed: session tokens, for instance.
        call.message = message.partition("\n\n")[0]
        headers = {"x-amzn-ErrorType": code, "x-amzn-RequestId": call.request_id}
        return Denied(status, call.message, json.dumps({member: message}).encode(), headers, "denied")

    def _later(self, call: Call, code: str, why: str) -> Denied:
        denied = self._denied(call, 503, code, f"{why}; it was allowed a moment ago, send it again later")
        call.detail = {**call.detail, "grace": True}
        return Denied(503, call.message, denied.body, {**denied.headers, "Retry-After": str(_RETRY_S)}, "grace")


def _asked(call: Call, key: AccessKey) -> Asked:
    return Asked(key.id, call.target.action, call.target.resource)


def _from_this_machine(request: Request) -> bool:
    """Return whether a request comes from this machine, and not through a proxy on it."""
    forwarded = any(name in request.headers for name in _FORWARDED)
    return is_loopback_host(request.peer.address) and not forwarded


def _decision(
    verdict: Verdict, identity: Identity, resource_policy: Policy | None, asked: AccessRequest
) -> Mapping[str, Any]:
    """Return why policies do not allow a request, for the audit log."""
    policies = [*identity.policies, *([resource_policy] if resource_policy is not None else [])]
    return {
        "effect": verdict.effect.value,
        "policy": verdict.policy,
        "statement": verdict.statement,
        "policies": [policy.name for policy in policies][:20],
        "considered": [
            {"policy": one.policy, "statement": one.statement, "allow": one.allow, "whyNot": one.why_not[:400]}
            for one in considered(policies, asked)
        ][:20],
    }


_NOTHING = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "PolicyCannotBeRead", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"},
    ],
}
