"""Measures a model on later time than it was trained on."""

import numpy as np

DAY_US = 86_400_000_000


def evaluate(scores, rows, threshold):
    """All figures of model.toml's [metrics] that depend on scores. Rates are shares from 0 to 1."""
    benign, attack = rows.label == 0, rows.label == 1
    at_threshold = scores >= threshold
    at_1_percent = scores > threshold_for(scores[benign], 0.01)
    attacks = set(rows.attack[attack])
    return {
        "test_rows": len(rows),
        "test_attack_rows": int(attack.sum()),
        "test_attacks": len(attacks),
        "test_attacks_detected": len(set(rows.attack[attack & at_threshold])),
        "detection_rate_at_1_percent_fp": rate(at_1_percent[attack]),
        "detection_rate_at_threshold": rate(at_threshold[attack]),
        "false_positive_rate_at_threshold": rate(at_threshold[benign]),
        "alerts_per_host_day": alerts_per_host_day(at_threshold & benign, rows),
    }


def threshold_for(benign_scores, false_positive_rate):
    """The smallest benign score that at most this share of benign rows exceeds."""
    return float(np.quantile(benign_scores, 1.0 - false_positive_rate, method="higher"))


def alerts_per_host_day(alerting, rows):
    """False alerts, an entity's touching or overlapping windows counted as one, scaled to one host and one day."""
    alerts, last_end = 0, {}
    for i in np.flatnonzero(alerting):
        alerts += rows.start_us[i] > last_end.get(rows.entity[i], -1)
        last_end[rows.entity[i]] = rows.end_us[i]
    span_us = int(rows.end_us.max() - rows.start_us.min())
    return round(alerts / len(set(rows.host)) * DAY_US / span_us, 2)


def rate(flags):
    return round(float(flags.mean()), 4) if len(flags) else 0.0
