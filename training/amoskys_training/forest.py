"""An isolation forest as ONNX, with all of its trees in one operator.

skl2onnx makes some ten operators for each tree, which then cost more than the trees: a hundred trees took 3 ms for a row. A tree gives the
depth of the leaf that a row falls into (and what the training rows there would have needed to be told apart), which is a regression
tree's value, so the trees' sum is one TreeEnsembleRegressor (Liu, Ting and Zhou, "Isolation Forest", ICDM 2008, equations 1 and 2).
Not here: forests of some of the features for each tree, which training does not make.
"""

import numpy as np
from onnx import TensorProto, helper
from sklearn.ensemble._iforest import _average_path_length


def to_onnx(forest, name, features, opset, tensor):
    """A model of `forest`'s decision_function: input `features` [rows, features], output `tensor` [rows, 1]."""
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for number, (estimator, used) in enumerate(zip(forest.estimators_, forest.estimators_features_)):
        if list(used) != list(range(features)):
            raise ValueError("a tree of some of the features; fit the forest with max_features=1.0")
        add_tree(number, estimator.tree_, nodes, leaves)
    attributes = {f"nodes_{key}": values for key, values in nodes.items()}
    attributes |= {f"target_{key}": values for key, values in leaves.items()}
    longest = len(forest.estimators_) * float(_average_path_length([forest._max_samples])[0])
    graph = helper.make_graph(
        [
            helper.make_node("TreeEnsembleRegressor", ["features"], ["depths"], domain="ai.onnx.ml", n_targets=1,
                             aggregate_function="SUM", **attributes),
            helper.make_node("Div", ["depths", "minus_longest"], ["exponent"]),
            helper.make_node("Pow", ["two", "exponent"], ["strangeness"]),
            helper.make_node("Sub", ["minus_offset", "strangeness"], [tensor]),
        ],
        name,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, 1])],
        [constant("minus_longest", -longest), constant("two", 2.0), constant("minus_offset", -forest.offset_)],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opset.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10, producer_name="amoskys")
    return model.SerializeToString(deterministic=True)


def constant(name, value):
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [value])


def add_tree(number, tree, nodes, leaves):
    depths = depths_of(tree)
    unsplit = _average_path_length(tree.n_node_samples)
    for node in range(tree.node_count):
        is_leaf = tree.children_left[node] < 0
        nodes["treeids"].append(number)
        nodes["nodeids"].append(node)
        nodes["featureids"].append(0 if is_leaf else int(tree.feature[node]))
        nodes["values"].append(0.0 if is_leaf else at_most(tree.threshold[node]))
        nodes["modes"].append("LEAF" if is_leaf else "BRANCH_LEQ")
        nodes["truenodeids"].append(0 if is_leaf else int(tree.children_left[node]))
        nodes["falsenodeids"].append(0 if is_leaf else int(tree.children_right[node]))
        if is_leaf:
            leaves["treeids"].append(number)
            leaves["nodeids"].append(node)
            leaves["ids"].append(0)
            leaves["weights"].append(float(depths[node] + unsplit[node]))


def depths_of(tree):
    """Steps from the root to each node; a node stands behind its parent."""
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    return depths


def at_most(threshold):
    """The largest float32 that is not above: scikit-learn compares float32 values with a float64."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if rounded > threshold else rounded)
