"""Importing TensorFlow and Keras: quietly, and without what Keras would bring along for others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
