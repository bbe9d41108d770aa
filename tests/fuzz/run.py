"""Starts a gateway on a database of its own and lets schemathesis loose on it, once for each kind of caller.

    run.py PROGRAM HOME    the program, and the folder that has the tools and takes what is found
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# The same requests each time, so that what it finds can be found again.
SEED = 20260301

# What is tried by whom. What follows from the bounds of a schema, and from links between answers, does not depend on who asks: the one who may do
# everything shows it. Examples are requests of each operation that are made at random.
PHASES = {"admin": "examples,coverage,fuzzing,stateful", "service": "examples,fuzzing", "workspace": "examples,fuzzing"}
EXAMPLES = {"admin": 4, "service": 8, "workspace": 8}

HERE = pathlib.Path(__file__).parent
# The first start fetches and prepares a MySQL server, if there is none yet.
START_SECONDS = 240


def start(program, data):
    """Runs `consumable dev`; gives it, and where everything is."""
    command = [program, "dev", "--listen", "127.0.0.1:0", "--data", data]
    log = open(os.path.join(data, "dev.log"), "w+")
    gateway = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    ready = threading.Event()

    def hear():
        for line in gateway.stdout:
            # The last line that it prints.
            if line.rstrip().endswith("dev.json, too."):
                ready.set()
        ready.set()

    threading.Thread(target=hear, daemon=True).start()
    in_time = ready.wait(START_SECONDS)
    if not in_time or gateway.poll() is not None:
        gateway.kill()
        log.seek(0)
        sys.exit(f"consumable dev did not start:\n{log.read()}")
    with open(os.path.join(data, "dev.json")) as file:
        return gateway, json.load(file)


def ask(dev, secret, method, path, body):
    """Makes what the requests are about."""
    request = urllib.request.Request(dev["url"] + path, json.dumps(body).encode(), method=method)
    request.add_header("Authorization", f"Bearer {secret}")
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", "fuzz-" + body.get("code", "workspace"))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def prepare(dev):
    """A workspace that has enough of everything, and a token for it."""
    service, admin = dev["serviceKey"], dev["adminKey"]
    entity = ask(dev, service, "PUT", "/api/billing/entities/workspace/acme", {"workspaceSlug": "acme"})
    grant = {"billableEntityId": entity["billableEntity"]["id"], "amount": 10**9, "kind": "promo", "reason": "Fuzz"}
    for code in ["ai.credits", "projects.max", "annuity.calculations.monthly"]:
        ask(dev, admin, "POST", "/api/console/billing/grants", {**grant, "code": code})
    token = {"workspaceSlug": "acme", "userId": "fuzz", "surface": "admin", "permissions": ["workspace.billing.manage"]}
    return ask(dev, service, "POST", "/api/billing/workspace-tokens", {**token, "ttlSeconds": 3600})["token"]


def run(caller, secret, dev, home):
    """Once, as a caller; gives the exit code and the counts of answers by their status."""
    counts = os.path.join(home, f"{caller}.json")
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "FUZZ_SECRET": secret,
        "FUZZ_COUNTS": counts,
        "FUZZ_WEBHOOK_SECRET": dev["stripeWebhookSecret"],
        "COLUMNS": "160",
        # Nothing is left beside the sources.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Not by its script, which names its interpreter by a path: a build folder may have been moved.
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", dev["url"] + "/openapi.json", "--seed", str(SEED), "--max-examples", str(EXAMPLES[caller])]
    command += ["--phases", PHASES[caller]]
    print(f"\n-- as {caller}, seed {SEED}", flush=True)
    code = subprocess.run(command, env=environment, cwd=home).returncode
    with open(counts) as file:
        return code, json.load(file)


def main(program, home):
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="consumable-fuzz-") as data:
        gateway, dev = start(program, data)
        failed, calls = [], 0
        try:
            token = prepare(dev)
            secrets = {"admin": dev["adminKey"], "service": dev["serviceKey"], "workspace": token}
            for caller, secret in secrets.items():
                code, counts = run(caller, secret, dev, home)
                calls += sum(counts.values())
                print(f"as {caller}: {sum(counts.values())} calls, by status: {counts}", flush=True)
                if code != 0:
                    failed.append(caller)
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(60)
    seconds = round(time.monotonic() - begun)
    print(f"\nfuzz: {calls} calls in {seconds} s, seed {SEED}")
    if failed:
        sys.exit(f"fuzz: the gateway is not as /openapi.json says, as {', '.join(failed)}")
    if calls < 1000:
        sys.exit("fuzz: so few calls show nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
