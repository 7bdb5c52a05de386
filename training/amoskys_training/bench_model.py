"""Writes the model that processors/scoring/benches/predict.rs measures: 100 trees of depth 6 over 500 features."""

import sys

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from . import export, learn

TREES, DEPTH, FEATURES, ROWS = 100, 6, 500, 20_000


def main(folder):
    random = np.random.default_rng(learn.SEED)
    values = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    # Many weak signals and noise, so that the trees grow full and use most features.
    label = (values @ random.normal(size=FEATURES) + random.normal(size=ROWS) > 0).astype(int)
    estimator = HistGradientBoostingClassifier(
        max_iter=TREES, max_depth=DEPTH, max_leaf_nodes=2**DEPTH, min_samples_leaf=2, learning_rate=0.1,
        max_bins=63, early_stopping=False, random_state=learn.SEED,
    ).fit(values, label)
    about = {"threshold": 0.5, "metrics": no_metrics(), "sql_hash": "none", "trained_at_us": 0, "data": "random numbers"}
    names = [f"f{i}" for i in range(FEATURES)]
    learned = learn.Learned(estimator, "probability")
    print(export.write_model(folder, "bench", "1", learned, names, np.zeros(FEATURES, np.float32), about))


def no_metrics():
    """Metrics for models that nobody will judge."""
    zeros = ["train_rows", "test_rows", "test_attack_rows", "test_attacks", "test_attacks_detected",
             "detection_rate_at_1_percent_fp", "detection_rate_at_threshold", "false_positive_rate_at_threshold",
             "alerts_per_host_day"]
    return {"train_until": export.utc(0), "test_from": export.utc(1)} | dict.fromkeys(zeros, 0)


if __name__ == "__main__":
    main(sys.argv[1])
