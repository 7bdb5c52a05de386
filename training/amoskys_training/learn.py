"""Fits a model and turns its output into a score from 0 to 1. Seeds are fixed: the same rows give the same model."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

SEED = 20261123


@dataclass
class Learned:
    """A fitted estimator and how its raw output becomes a score: in a line from 0 at `zero_at` to 1 at `one_at`."""

    estimator: object
    # "probability" or "raw", as model.toml has it.
    kind: str
    zero_at: float = 0.0
    one_at: float = 1.0

    def raw(self, values):
        """What the ONNX model answers, as scikit-learn computes it."""
        if self.kind == "probability":
            return self.estimator.predict_proba(values)[:, 1]
        return self.estimator.decision_function(values)

    def score(self, values):
        return self.to_score(self.raw(values))

    def to_score(self, raw):
        return np.clip((np.asarray(raw, float) - self.zero_at) / (self.one_at - self.zero_at), 0.0, 1.0)


def fit(algorithm, train, rising=()):
    """`boosted` learns from labels, `isolation` from benign rows only."""
    if algorithm == "isolation":
        return fit_isolation(train)
    return fit_boosted(train, rising)


def fit_boosted(train, rising=()):
    """Small trees and large leaves: one host's hour must not be learned by heart. More of a `rising` feature never
    lowers the score: what makes an attack likelier must not make it unlikelier because the recorded ones had less."""
    unknown = set(rising) - set(train.features)
    if unknown:
        raise ValueError(f"--rising {', '.join(sorted(unknown))}: no such feature; there are {', '.join(train.features)}")
    if len(set(train.label)) < 2:
        raise ValueError("the training time holds only one of benign and attack rows; record for longer")
    estimator = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, max_depth=4, max_leaf_nodes=12, min_samples_leaf=20, l2_regularization=1.0,
        class_weight="balanced", early_stopping=False, random_state=SEED,
        monotonic_cst=[int(name in rising) for name in train.features],
    )
    estimator.fit(train.values, train.label)
    return Learned(estimator, "probability")


def fit_isolation(train):
    """Score 0 at the median benign row, 1 well beyond the strangest: lower raw values are stranger."""
    benign = train.values[train.label == 0]
    estimator = IsolationForest(n_estimators=100, max_samples=min(512, len(benign)), random_state=SEED)
    estimator.fit(benign)
    raw = estimator.decision_function(benign)
    middle, strangest = float(np.median(raw)), float(raw.min())
    return Learned(estimator, "raw", zero_at=middle, one_at=strangest - 0.25 * (middle - strangest) - 1e-6)


def baselines(train):
    """Per feature the median of the benign training rows: what nothing unusual looks like."""
    return np.median(train.values[train.label == 0], axis=0).astype(np.float32)


def choose_threshold(scores, label, false_positive_rate):
    """The score that at most this share of benign calibration rows reaches; midway to the attacks above it if any."""
    benign, attacks = scores[label == 0], scores[label == 1]
    quiet = float(np.quantile(benign, 1.0 - false_positive_rate, method="higher"))
    above = attacks[attacks > quiet]
    upper = float(np.quantile(above, 0.1)) if len(above) else 1.0
    return round(min(max((quiet + upper) / 2, quiet + 1e-4, 1e-3), 1.0), 4)
