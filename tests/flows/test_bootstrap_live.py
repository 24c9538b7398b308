"""The README's way to a node, word for word, against a serving Timmy."""

import asyncio
import json
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ledger.audit import audit
from tests.flows.shop import serving
from timmy_dvm.config.tables import HttpTable

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCK = README.split("<!-- node -->\n```\n", 1)[1].split("```\n<!-- /node -->", 1)[0]
BASH = shutil.which("bash")


async def test_boo_34_the_readmes_block_reaches_ready(tmp_path):
    first, _, rest = BLOCK.partition("\n")
    assert first == f"T=http://127.0.0.1:{HttpTable().port}"
    async with serving(tmp_path) as shop:
        child = await asyncio.create_subprocess_exec(
            BASH,
            "-c",
            f"T={shop.ready.http}\n{rest}",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(child.communicate(), 90)
    assert child.returncode == 0, out
    node = json.loads((tmp_path / "node.json").read_text())
    assert (node["state"], node["stubMode"]) == ("ready", True)
    assert load_pem_private_key(node["sshPrivateKey"].encode(), None).key_size == 4_096
    assert audit(tmp_path / "timmy.db") == []
    assert b"RSA PRIVATE" not in (tmp_path / "timmy.db").read_bytes()
