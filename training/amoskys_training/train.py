"""The command line of `training/train`: features and ground truth → split by time → fit → measure → export."""

import argparse
import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from . import dataset, evaluate, export, learn

THRESHOLD_FALSE_POSITIVE_RATE = 0.001


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="training/train",
        description="Trains a model on a features file and writes models/<name>/<version>/{model.onnx, model.toml}.",
        epilog="example: training/train --features f.parquet --truth truth.jsonl --name process_behaviour --out models",
    )
    parser.add_argument("--features", required=True, help="Parquet of a view: win {start, end} and numeric columns")
    parser.add_argument("--truth", help="the workload's log; needed by --algorithm boosted")
    parser.add_argument("--name", required=True, help="the model's name, as in predict('name', *)")
    parser.add_argument("--out", default="models", help="the folder of models (default: models)")
    parser.add_argument("--version", help="default: one more than the newest")
    parser.add_argument("--algorithm", choices=["boosted", "isolation"], default="boosted")
    parser.add_argument("--exclude", action="append", default=[], help="a numeric column that is not a feature")
    parser.add_argument("--rising", action="append", default=[], help="a feature of which more is never less suspicious")
    parser.add_argument("--sql", action="append", default=[], help="SQL files that computed the features, to be hashed")
    parser.add_argument("--sql-hash", help="their hash, if it is known already")
    parser.add_argument("--data", default="", help="what the data is, for a person")
    parser.add_argument("--threshold", type=float, help="the score that the SQL alerts at (default: chosen by the data)")
    parser.add_argument("--train-share", type=float, default=0.55, help="of the time, from its start")
    parser.add_argument("--calibrate-share", type=float, default=0.15, help="of the time, to choose the threshold on")
    return parser.parse_args(argv)


def main(argv=None):
    """Exit code 0 done, 1 the data cannot train a model, 2 wrong use."""
    options = arguments(argv)
    try:
        folder, metrics, threshold = train(options)
    except (OSError, ValueError) as error:
        print(f"training/train: {error}", file=sys.stderr)
        return 1
    print(f"wrote {folder}, threshold {threshold}, measured on later time:")
    for key, value in metrics.items():
        print(f"  {key} = {value}")
    return 0


def train(options):
    rows = load(options)
    split = dataset.split_by_time(rows, options.train_share, options.calibrate_share)
    for part in ("train", "calibrate", "test"):
        check_part(part, getattr(split, part), need_attacks=options.truth and part != "calibrate")
    learned = learn.fit(options.algorithm, split.train, options.rising)
    tensor, onnx = export.to_onnx(learned, options.name, len(rows.features))
    export.check_parity(learned, onnx, tensor, rows.values)
    # Everything from here is measured on what will be served, not on scikit-learn's idea of it.
    scores = lambda part: learned.to_score(export.served_raw(onnx, tensor, part.values))
    calibrate = split.calibrate
    threshold = options.threshold
    if threshold is None:
        threshold = learn.choose_threshold(scores(calibrate), calibrate.label, THRESHOLD_FALSE_POSITIVE_RATE)
    elif not 0.0 <= threshold <= 1.0:
        raise ValueError(f"--threshold {threshold}: a score is from 0 to 1")
    metrics = {
        "train_until": export.utc(int(calibrate.end_us.max())),
        "test_from": export.utc(int(split.test.start_us.min())),
        "train_rows": len(split.train) + len(calibrate),
    } | evaluate.evaluate(scores(split.test), split.test, threshold)
    about = {
        "threshold": threshold, "metrics": metrics, "sql_hash": options.sql_hash or hash_files(options.sql),
        "trained_at_us": time.time_ns() // 1000, "data": options.data or describe(rows),
    }
    version = options.version or export.next_version(options.out, options.name)
    baselines = learn.baselines(split.train)
    folder = export.write_model(options.out, options.name, version, learned, rows.features, baselines, about)
    return folder, metrics, threshold


def load(options):
    rows = dataset.read_rows(options.features, options.exclude)
    unusable = ~np.isfinite(rows.values).all(axis=1)
    if unusable.any():
        bad = [name for name, column in zip(rows.features, rows.values.T) if not np.isfinite(column).all()]
        raise ValueError(f"{options.features}: {unusable.sum()} rows have null or infinite {', '.join(bad)}; "
                         "use coalesce in the view: such rows would get no score")
    if options.truth:
        dataset.label_rows(rows, dataset.read_attacks(options.truth))
    elif options.algorithm == "boosted":
        raise ValueError("--algorithm boosted needs --truth")
    return rows


def check_part(name, rows, need_attacks):
    benign, attacks = int((rows.label == 0).sum()), int((rows.label == 1).sum())
    if benign == 0 or (need_attacks and attacks == 0):
        raise ValueError(f"the {name} time has {benign} benign and {attacks} attack rows; record for longer")


def describe(rows):
    minutes = (rows.end_us.max() - rows.start_us.min()) / 60e6
    return f"{len(rows)} windows of {len(set(rows.host))} host(s) over {minutes:.0f} minutes, attacks staged"


def hash_files(paths):
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(Path(path).read_bytes())
    return f"sha256:{digest.hexdigest()}" if paths else "unknown"


if __name__ == "__main__":
    sys.exit(main())
