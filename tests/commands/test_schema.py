"""`tlcli schema`: it prints JSON."""

from __future__ import annotations

import json


def test_schema(cli):
    assert json.loads(cli("schema").stdout)["title"] == "tlcli recipe"
