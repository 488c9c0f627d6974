"""`tlcli bases`: the table, one base, and a name that is none."""

from __future__ import annotations

import json


def test_bases(cli):
    done = cli("bases")
    assert done.stdout.splitlines()[2].startswith("VGG16 ")
    assert json.loads(cli("bases", "--json").stdout)[0]["default_boundary"] == "block4_pool"
    assert json.loads(cli("bases", "resnet50", "--json").stdout)[-1]["shape"] == [7, 7, 2048]
    wrong = cli("bases", "vgg")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: bases: 'vgg' is not a base tlcli knows; did you mean ")
