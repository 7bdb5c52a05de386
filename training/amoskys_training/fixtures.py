"""Writes the models that the tests of processors/scoring load: two good ones, and ONNX files that must be refused.

`good/` is a folder of models as users have it. The files of `bad/` are ONNX only: the tests pair them with a
model.toml of their own. Deterministic: running it again changes no byte.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from . import export, learn
from .bench_model import no_metrics

FEATURES = ["execs", "mean_lifetime_us", "tmpfs_execs"]
BASELINES = np.array([2, 1000, 0], np.float32)


def main(folder):
    values, label = rows()
    boosted = HistGradientBoostingClassifier(max_iter=8, max_depth=3, early_stopping=False, random_state=learn.SEED)
    write(folder, "tiny_boosted", "2", learn.Learned(boosted.fit(values, label), "probability"))
    # An older version, which a registry must pass over although "10" sorts before "2" as text.
    write(folder, "tiny_isolation", "2", isolation(values[label == 0], trees=3))
    write(folder, "tiny_isolation", "10", isolation(values[label == 0], trees=5))
    bad = Path(folder) / "bad"
    bad.mkdir(parents=True, exist_ok=True)
    (bad / "double.onnx").write_bytes(graph(TensorProto.DOUBLE, "ReduceMean"))
    # The logarithm of a mean that is negative for the baselines the tests give: NaN.
    (bad / "nan.onnx").write_bytes(graph(TensorProto.FLOAT, "ReduceMean", "Log"))
    (bad / "identity.onnx").write_bytes(graph(TensorProto.FLOAT, "ReduceMean"))


def rows():
    """Attacks: many executions, short-lived, some out of memory-backed folders."""
    random = np.random.default_rng(learn.SEED)
    label = (random.random(400) < 0.3).astype(int)
    execs = random.poisson(np.where(label, 20, 2))
    lifetime = random.lognormal(np.where(label, 5, 7), 1)
    tmpfs = random.poisson(np.where(label, 0.5, 0.01))
    return np.column_stack([execs, lifetime, tmpfs]).astype(np.float32), label


def isolation(benign, trees):
    estimator = IsolationForest(n_estimators=trees, max_samples=32, random_state=learn.SEED).fit(benign)
    return learn.Learned(estimator, "raw", zero_at=0.1, one_at=-0.3)


def write(folder, name, version, learned):
    about = {"threshold": 0.7, "metrics": no_metrics(), "sql_hash": "none", "trained_at_us": 0,
             "data": "random numbers, for tests only"}
    export.write_model(Path(folder) / "good", name, version, learned, FEATURES, BASELINES, about)


def graph(element, *operators):
    """A chain of operators from `features` [rows, 3] to `score` [rows, 1]."""
    names = ["features", *(f"step{i}" for i in range(1, len(operators))), "score"]
    nodes = [helper.make_node(op, [a], [b], **({"keepdims": 1, "axes": [1]} if op == "ReduceMean" else {}))
             for op, a, b in zip(operators, names, names[1:])]
    features = helper.make_tensor_value_info("features", element, [None, len(FEATURES)])
    score = helper.make_tensor_value_info("score", element, [None, 1])
    model = helper.make_model(helper.make_graph(nodes, "refused", [features], [score]),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(deterministic=True)


if __name__ == "__main__":
    main(sys.argv[1])
