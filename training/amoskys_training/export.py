"""Writes models/<name>/<version>/{model.onnx, model.toml} and checks that ONNX Runtime answers as scikit-learn did."""

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import IsolationForest

from . import forest

OPSET = {"": 21, "ai.onnx.ml": 3}
# float32 against float64 sums of a few hundred trees.
PARITY_MAX = 1e-4


def to_onnx(learned, name, features):
    """Serialised ONNX with one input [rows, features] and only the output that is scored."""
    tensor = {"probability": "probabilities", "raw": "scores"}[learned.kind]
    if isinstance(learned.estimator, IsolationForest):
        return tensor, forest.to_onnx(learned.estimator, name, features, OPSET, tensor)
    options = {id(learned.estimator): {"zipmap": False}} if learned.kind == "probability" else None
    inputs = [("features", FloatTensorType([None, features]))]
    model = convert_sklearn(learned.estimator, name, inputs, options=options, target_opset=OPSET)
    unused = [output for output in model.graph.output if output.name != tensor]
    for output in unused:
        model.graph.output.remove(output)
    return tensor, model.SerializeToString(deterministic=True)


def served_raw(onnx, tensor, values):
    """What the exported model answers, one raw value per row."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    answer = session.run([tensor], {"features": np.ascontiguousarray(values, np.float32)})[0]
    return answer.reshape(len(values), -1)[:, -1].astype(float)


def check_parity(learned, onnx, tensor, values):
    """Raises ValueError if the export scores differently from what was trained."""
    difference = np.abs(learned.to_score(served_raw(onnx, tensor, values)) - learned.score(values))
    if difference.max() > PARITY_MAX:
        raise ValueError(f"ONNX and scikit-learn differ by {difference.max():.6f} on {(difference > PARITY_MAX).sum()} rows")


def next_version(models, name):
    """One more than the newest whole-number version there is."""
    versions = [int(folder.name) for folder in (Path(models) / name).glob("*") if folder.name.isdecimal()]
    return str(max(versions, default=0) + 1)


def write_model(models, name, version, learned, features, baselines, about):
    """Writes both files and returns their folder. `about`: threshold, data, sql_hash, trained_at_us, metrics."""
    tensor, onnx = to_onnx(learned, name, len(features))
    baseline_score = float(learned.to_score(served_raw(onnx, tensor, baselines.reshape(1, -1)))[0])
    folder = Path(models) / name / version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx)
    output = {"tensor": tensor, "column": 1 if learned.kind == "probability" else 0, "kind": learned.kind,
              "baseline_score": round(baseline_score, 6)}
    if learned.kind == "raw":
        output |= {"zero_at": learned.zero_at, "one_at": learned.one_at}
    head = {"name": name, "version": version, "sha256": hashlib.sha256(onnx).hexdigest(),
            "threshold": about["threshold"], "trained_at": utc(about["trained_at_us"]), "data": about["data"],
            "sql_hash": about["sql_hash"]}
    tables = ["# Written by training/train together with model.onnx; not to be edited.", toml(head)]
    tables += ["[output]\n" + toml(output), "[metrics]\n" + toml(about["metrics"])]
    tables += ["[[feature]]\n" + toml({"name": n, "baseline": float(b)}) for n, b in zip(features, baselines)]
    (folder / "model.toml").write_text("\n".join(tables), encoding="utf-8")
    return folder


def utc(micros):
    """A time that `toml` writes as a TOML date-time."""
    return datetime.fromtimestamp(micros / 1e6, timezone.utc)


def toml(values):
    """Keys and plain values as TOML lines; JSON's strings and numbers are TOML's."""
    def one(value):
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return json.dumps(value)
    return "".join(f"{key} = {one(value)}\n" for key, value in values.items())
