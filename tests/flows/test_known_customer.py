"""A whole Timmy on a real socket: a customer logs in with a key and is known, and the operator sees how it is."""

import base64
import hashlib
import json

import httpx

from tests.flows.shop import fresh_keys, serving
from timmy_dvm.clock import SystemClock

ADMIN = "admin-token-of-this-test"
PAGE = "https://app.example"
CLOCK = SystemClock()


def signed(keys, kind, *tags, at):
    return keys.sign(kind=kind, created_at=at, tags=tags, content="", aux=b"\x01" * 32).to_json()


async def test_a_customer_logs_in_asks_and_is_known_and_the_operator_sees_it(tmp_path):
    keys = fresh_keys()
    settings = {"TIMMY_HTTP__ADMIN_TOKEN": ADMIN, "TIMMY_HTTP__CORS_ORIGINS": PAGE}
    async with (
        serving(tmp_path, more=settings) as shop,
        httpx.AsyncClient(base_url=shop.ready.http, trust_env=False) as http,
    ):
        now = int(CLOCK.now())
        challenge = (await http.post("/api/identity/challenge", json={})).json()["challenge"]
        tags = (("u", f"{shop.ready.http}/api/identity/verify"), ("challenge", challenge))
        login = {"event": json.loads(signed(keys, 22_242, *tags, at=now))}
        token = (await http.post("/api/identity/verify", json=login)).json()["nostr_token"]
        assert (await http.post("/api/identity/verify", json=login)).status_code == 401

        body = json.dumps({"request": "What is a data vending machine?"}).encode()
        tags = (
            ("u", f"{shop.ready.http}/api/jobs"),
            ("method", "POST"),
            ("payload", hashlib.sha256(body).hexdigest()),
        )
        proof = base64.b64encode(signed(keys, 27_235, *tags, at=int(CLOCK.now())).encode()).decode()
        headers = {"Authorization": f"Nostr {proof}", "Content-Type": "application/json", "Origin": PAGE}
        asked = await http.post("/api/jobs", content=body, headers=headers)
        assert (asked.status_code, asked.json()["trust_tier"]) == (201, "new")
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert (await http.post("/api/jobs", content=body, headers=headers)).status_code == 401

        me = (await http.get("/api/identity/me", headers={"X-Nostr-Token": token})).json()
        assert (me["pubkey"], me["tier"]) == (keys.public_key, "new")

        state = (await http.get("/api/admin/node-status")).json()
        assert (state["stubMode"], state["issues"]) == (True, [])
        assert (await http.get("/metrics", headers={"Via": "1.1 proxy"})).status_code == 403
        numbers = (await http.get("/metrics", headers={"Authorization": f"Bearer {ADMIN}"})).text
        assert 'timmy_jobs_asked_total{door="http"} 1' in numbers
        assert keys.public_key not in numbers
