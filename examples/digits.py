"""Train a small neural network on scikit-learn's handwritten digits and print how well it does after each epoch.

An ordinary script that knows nothing of whet::

    python examples/digits.py --lr 0.01
    whet run --objective val_acc:max --trials 8 examples/digits.py --lr "loguniform(1e-4, 1e-1)"
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--hidden", type=int, default=64, help="units of the hidden layer")
    parser.add_argument("--batch", type=int, default=64, help="images per update")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the order of the images")
    args = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(
        images / 16.0, labels, test_size=0.25, stratify=labels, random_state=0
    )
    model = MLPClassifier(
        hidden_layer_sizes=(args.hidden,),
        learning_rate_init=args.lr,
        batch_size=min(args.batch, len(x_train)),
        random_state=args.seed,
    )
    classes = np.unique(labels)
    # A rate that is far too large overflows; the printed accuracy says so, numpy need not.
    with np.errstate(all="ignore"):
        for epoch in range(1, args.epochs + 1):
            model.partial_fit(x_train, y_train, classes=classes)
            val_loss = log_loss(y_val, model.predict_proba(x_val), labels=classes)
            val_acc = accuracy_score(y_val, model.predict(x_val))
            print(f"epoch={epoch} train_loss={model.loss_:.4f} val_loss={val_loss:.4f} val_acc={val_acc:.4f}")


if __name__ == "__main__":
    main()
