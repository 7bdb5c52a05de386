"""The training on synthetic rows: labels, splits by time, metrics, exports, refusals. Seconds, no network, no clock."""

import json
import tomllib

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import IsolationForest

from amoskys_training import dataset, evaluate, export, learn, train, workload

SECOND = 1_000_000
START = 1_795_000_000 * SECOND


def write_features(path, seconds=600, nulls=False):
    """Windows of 10 s each second: two benign entities, and attackers in two of every fifty seconds."""
    random = np.random.default_rng(1)
    rows, truth = [], []
    for second in range(seconds):
        start = START + second * SECOND
        for pid in (100, 200):
            rows.append((start, pid, int(random.poisson(2 + pid // 50)), float(random.lognormal(9, 1))))
        if second % 50 in (20, 21):
            rows.append((start, 1000 + second // 50, int(random.poisson(30)), float(random.lognormal(7, 1))))
        if second % 50 == 20:
            truth.append({"name": "burst", "attack": True, "start_us": start + 2 * SECOND, "end_us": start + 5 * SECOND,
                          "parent_pid": 1000 + second // 50})
    truth.append({"name": "build", "attack": False, "start_us": START, "end_us": START + SECOND, "parent_pid": 100})
    stamp = lambda values: pa.array(values, pa.timestamp("us", tz="UTC"))
    window = pa.StructArray.from_arrays([stamp([r[0] for r in rows]), stamp([r[0] + 10 * SECOND for r in rows])], ["start", "end"])
    lifetimes = [None if nulls and i == 7 else r[3] for i, r in enumerate(rows)]
    pq.write_table(pa.table({"host_id": ["h"] * len(rows), "parent_pid": pa.array([r[1] for r in rows], pa.uint32()),
                             "win": window, "execs": [r[2] for r in rows], "mean_lifetime_us": lifetimes}), path)
    log = path.with_suffix(".jsonl")
    log.write_text("".join(json.dumps(line) + "\n" for line in truth))
    return log


def run(tmp_path, *more, **features):
    path = tmp_path / "features.parquet"
    log = write_features(path, **features)
    return train.main(["--features", str(path), "--truth", str(log), "--name", "m", "--out", str(tmp_path / "models"), *more])


@pytest.mark.parametrize("algorithm", ["boosted", "isolation"])
def test_trains_and_exports_a_model_that_finds_the_attacks(tmp_path, algorithm):
    assert run(tmp_path, "--algorithm", algorithm) == 0
    about = tomllib.loads((tmp_path / "models/m/1/model.toml").read_text())
    assert [feature["name"] for feature in about["feature"]] == ["execs", "mean_lifetime_us"]
    assert about["metrics"]["test_from"] >= about["metrics"]["train_until"]
    assert about["metrics"]["test_attacks"] >= 2
    assert about["metrics"]["detection_rate_at_1_percent_fp"] > 0.9
    session = onnxruntime.InferenceSession(tmp_path / "models/m/1/model.onnx")
    assert [i.shape[1] for i in session.get_inputs()] == [2]
    assert [o.name for o in session.get_outputs()] == [about["output"]["tensor"]]


def test_a_forest_is_one_operator_for_all_trees_and_scores_as_it_was_trained():
    random = np.random.default_rng(3)
    # Ties, few distinct values and numbers that float32 rounds: where a branch could go the other way.
    rows = np.column_stack([random.normal(size=3000), random.integers(0, 3, 3000), random.lognormal(12, 3, 3000),
                            np.round(random.normal(size=3000), 1), np.zeros(3000)]).astype(np.float32)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=learn.SEED).fit(rows)
    learned = learn.Learned(forest, "raw", zero_at=0.1, one_at=-0.3)
    tensor, exported = export.to_onnx(learned, "m", rows.shape[1])
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=True)
    assert [node.op_type for node in onnx.load_from_string(exported).graph.node].count("TreeEnsembleRegressor") == 1
    difference = np.abs(export.served_raw(exported, tensor, rows) - forest.decision_function(rows))
    assert difference.max() < 1e-6
    few = IsolationForest(n_estimators=3, max_features=2, random_state=learn.SEED).fit(rows)
    with pytest.raises(ValueError, match="max_features=1.0"):
        export.to_onnx(learn.Learned(few, "raw", zero_at=0.1, one_at=-0.3), "m", rows.shape[1])


def test_the_same_rows_give_the_same_model_and_the_next_version(tmp_path):
    assert run(tmp_path) == 0
    assert run(tmp_path) == 0
    first, second = ((tmp_path / f"models/m/{v}/model.onnx").read_bytes() for v in (1, 2))
    assert first == second


def test_refuses_nulls_and_a_file_without_windows(tmp_path, capsys):
    assert run(tmp_path, nulls=True) == 1
    assert "null or infinite mean_lifetime_us" in capsys.readouterr().err
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    assert train.main(["--features", str(path), "--name", "m", "--algorithm", "isolation"]) == 1
    assert "expected a column `win`" in capsys.readouterr().err


def test_refuses_too_short_a_recording(tmp_path, capsys):
    assert run(tmp_path, seconds=40) == 1
    assert "record for longer" in capsys.readouterr().err


def rows_of(windows, pids=None):
    start = np.array([w[0] for w in windows])
    n = len(windows)
    return dataset.Rows(["f"], np.zeros((n, 1), np.float32), start, np.array([w[1] for w in windows]), np.full(n, "h"),
                        np.full(n, "e"), None if pids is None else np.array(pids), np.zeros(n, int), np.full(n, -1))


def test_labels_follow_the_log_and_leave_out_what_is_undecided():
    rows = rows_of([(0, 10), (5, 15), (11, 21), (18, 28), (30, 40)], [1, 1, 1, 1, 1])
    dataset.label_rows(rows, [dataset.Attack("a", 12, 20, parent_pid=1)])
    # Sees none of it, 3 of 8, all of it, 2 of 8, none.
    assert rows.label.tolist() == [0, -1, 1, -1, 0]
    other = rows_of([(11, 21)], [2])
    dataset.label_rows(other, [dataset.Attack("a", 12, 20, parent_pid=1)])
    assert other.label.tolist() == [0], "somebody else's children"


def test_no_event_is_in_two_parts():
    rows = rows_of([(second, second + 10) for second in range(100)])
    split = dataset.split_by_time(rows, 0.5, 0.2)
    assert split.train.end_us.max() <= split.calibrate.start_us.min()
    assert split.calibrate.end_us.max() <= split.test.start_us.min()


def test_touching_windows_of_an_entity_are_one_alert():
    day = evaluate.DAY_US
    rows = rows_of([(0, 10), (5, 15), (30, 40), (day - 10, day)])
    assert evaluate.alerts_per_host_day(np.array([True, True, True, False]), rows) == 2


def test_the_threshold_lies_between_benign_and_attacks():
    scores, label = np.array([0.0, 0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 0, 1, 1])
    assert 0.2 < learn.choose_threshold(scores, label, 0.001) < 0.8
    assert learn.choose_threshold(scores[:3], label[:3], 0.001) > 0.2


def test_the_workload_logs_what_it_ran(tmp_path):
    with open(tmp_path / "truth.jsonl", "w", encoding="utf-8") as truth:
        work = workload.Workload(str(tmp_path), str(tmp_path), truth, seed=1)
        work.run("burst", ["sh", "-c", "true"], attack=True)
        work.end()
        work.run("late", ["sh", "-c", "true"])
    [attack] = dataset.read_attacks(tmp_path / "truth.jsonl")
    assert attack.name == "burst" and attack.start_us <= attack.end_us and attack.parent_pid > 0
