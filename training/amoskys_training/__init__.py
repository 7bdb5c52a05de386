"""Trains the models that Amoskys serves: features and ground truth in, model.onnx and model.toml out.

Does not record, and does not compute features: `amoskys` does both, so that what a model is trained on is what it is
served. Limits: tables that fit into memory.
"""
