"""A random forest of scikit-learn: a function that knows nothing of sweeper."""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def train(trees: int = 50, depth: int = 8, features: str = "sqrt", seed: int = 0):
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, random_state=0)
    forest = RandomForestClassifier(trees, max_depth=depth, max_features=features, random_state=seed)
    forest.fit(train_x, train_y)
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    return {"accuracy": forest.score(test_x, test_y), "nodes": nodes}
