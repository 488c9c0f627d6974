"""Importing TensorFlow and Keras: quietly, and without what Keras would bring along for others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("given", "kept"), [(None, "true"), ("false", "false")])
def test_a_gpu_is_not_taken_whole_unless_the_user_says_so(given: str | None, kept: str):
    variable = "TF_FORCE_GPU_ALLOW_GROWTH"
    # What the environment of the process is by the system, which TensorFlow asks.
    code = "import ctypes, tlcli.networks.framework\nask = ctypes.CDLL(None).getenv\n"
    code += f"ask.restype = ctypes.c_char_p\nprint(ask(b'{variable}').decode())"
    environ = {name: value for name, value in os.environ.items() if name != variable}
    environ |= {variable: given} if given else {}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == f"{kept}\n", done.stderr


def test_optional_packages_of_keras_stay_out_and_can_be_imported_afterwards():
    code = """
import sys
from tlcli.networks.framework import keras, tf
print(sorted({"sklearn", "matplotlib", "cv2"} & sys.modules.keys()))
import sklearn.linear_model
print(sklearn.linear_model.LogisticRegression().fit([[0.0], [1.0]], [0, 1]).predict([[1.0]]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n[1]\n", ""), done.stderr
