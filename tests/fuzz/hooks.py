"""What schemathesis cannot know: what there is in the database, and who asks.

Only requests that are right by the description are helped, so that more of them come through to the rules; those that are wrong go as they are.
"""

import atexit
import collections
import hashlib
import hmac
import itertools
import json
import os
import time
import zlib

import schemathesis
from schemathesis.generation.meta import CoverageScenario

COUNTS = collections.Counter()
NUMBERS = itertools.count()

CODES = ["ai.credits", "projects.max", "annuity.calculations.monthly", "workspace.access"]
SUBJECT = ["X-Billable-Entity-Id", "X-Workspace-Slug"]
SUBJECT_IN_QUERY = ["billableEntityId", "workspaceSlug"]
BEFORE_SUBJECT = [CoverageScenario.UNSPECIFIED_HTTP_METHOD, CoverageScenario.MISSING_PARAMETER]


@atexit.register
def tell():
    with open(os.environ["FUZZ_COUNTS"], "w") as file:
        json.dump(dict(sorted(COUNTS.items())), file)


@schemathesis.hook
def after_call(context, case, response):
    COUNTS[response.status_code] += 1


@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(NUMBERS)
    names = {parameter.name for parameter in case.operation.iter_parameters()}
    scenario = getattr(getattr(case.meta, "phase", None) and case.meta.phase.data, "scenario", None)
    is_positive = case.meta is not None and case.meta.generation.mode.is_positive
    # Of the request, not of the order in which workers come: the same requests are helped each time.
    choice = zlib.crc32(repr([case.method, case.path, case.query, case.body]).encode(errors="replace"))
    case.headers = case.headers if case.headers is not None else {}
    if "X-Workspace-Slug" in names:
        # A subject that is not there is told before a method or a header that is wrong.
        is_met = scenario in BEFORE_SUBJECT or is_positive and choice % 2 == 0
        about(case, is_met)
    if not is_positive:
        return
    if case.operation.path == "/api/realtime/events" and not (case.query or {}).get("lastEventId"):
        # From the first change on, so that there is something to read at once.
        case.headers["Last-Event-ID"] = "0"
    if "Idempotency-Key" in names:
        # The key of a use may be in the header or in the body, which no schema can say. One that was used before finds only what was done with it.
        if not in_body(case.body, "usageEventKey") or choice % 4:
            case.headers["Idempotency-Key"] = f"fuzz-{os.getpid()}-{number}"
    case.body = whole(case.body)
    if in_body(case.body, "requests"):
        for place, request in enumerate(case.body["requests"]):
            if in_body(request, "usageEventKey"):
                request["usageEventKey"] = f"fuzz-{os.getpid()}-{number}-{place}"
    if choice % 4:
        real(case, number)
    if case.operation.path.startswith("/api/billing/webhooks/"):
        kwargs["data"] = json.dumps(case.body).encode()
        case.headers["Stripe-Signature"] = signature(kwargs["data"])


def about(case, is_met):
    """Says whom a request is about: one of four parameters, of which none is required. An empty one says nothing."""
    query = case.query or {}
    if is_met:
        for name in SUBJECT:
            case.headers.pop(name, None)
        for name in SUBJECT_IN_QUERY:
            query.pop(name, None)
    named = [case.headers.get(name) for name in SUBJECT] + [query.get(name) for name in SUBJECT_IN_QUERY]
    if all(name in (None, "") for name in named):
        case.headers["X-Workspace-Slug"] = "acme"


def whole(value):
    """Writes whole numbers without fraction, as the description wants it in words: to a schema, 7.0 is one."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


def signature(body):
    """What the payment provider would send with a body."""
    seconds = int(time.time())
    signed = f"{seconds}.".encode() + body
    mac = hmac.new(os.environ["FUZZ_WEBHOOK_SECRET"].encode(), signed, hashlib.sha256)
    return f"t={seconds},v1={mac.hexdigest()}"


def in_body(body, field):
    return isinstance(body, dict) and body.get(field) is not None


def real(case, number):
    """Puts names of things that there are in the place of names that are made up."""
    segments = case.path_parameters or {}
    if "code" in segments:
        segments["code"] = CODES[number % len(CODES)]
    if "resourceCode" in segments:
        segments["resourceCode"] = "projects"
    body = case.body
    if in_body(body, "limitationCode"):
        body["limitationCode"] = CODES[number % 2]
    if in_body(body, "usageEventKey"):
        body["usageEventKey"] = f"fuzz-{os.getpid()}-{number}"
    if in_body(body, "entitlements"):
        body["entitlements"] = body["entitlements"][: len(CODES) - 1]
        for place, entitlement in enumerate(body["entitlements"]):
            entitlement["code"] = CODES[place]
    if in_body(body, "capability"):
        body["capability"] = "projects.create"
    if in_body(body, "billableEntityId") and in_body(body, "code"):
        body["billableEntityId"], body["code"] = 1, CODES[number % len(CODES)]


@schemathesis.auth()
class Bearer:
    """The key or the token that this run is made with, and the signature of the provider, who comes with no key."""

    def get(self, case, context):
        return os.environ["FUZZ_SECRET"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
