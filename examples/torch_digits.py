"""Tune a torch network that reads handwritten digits: report each epoch, keep a checkpoint, go on after Ctrl-C.

It needs torch and scikit-learn, whose digits come with it (nothing is downloaded)::

    pip install whet torch scikit-learn
    python torch_digits.py

The study is kept in ``./.whet``. Press Ctrl-C and start it again: it goes on with the trials that are missing, and a
trial that was in the middle goes on from its last checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import whet

EPOCHS = 8
SPACE = {
    "lr": (1e-4, 1e-1, "log"),
    "dropout": (0.1, 0.5),
    "hidden": [64, 128, 256],
}


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return the images for training and for validation; the split is the same in every trial."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=0.25, stratify=labels, random_state=0)
    x_train, x_val, y_train, y_val = (torch.as_tensor(part) for part in parts)
    return TensorDataset(x_train.float(), y_train), TensorDataset(x_val.float(), y_val)


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    images, labels = data.tensors
    model.eval()  # no dropout
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def train(config, trial):
    torch.set_num_threads(1)  # the trials run beside each other
    torch.manual_seed(trial.seed)
    training, validation = digits()
    model = nn.Sequential(
        nn.Linear(64, config["hidden"]), nn.ReLU(), nn.Dropout(config["dropout"]), nn.Linear(config["hidden"], 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    loss_fn = nn.CrossEntropyLoss()

    first = 1
    saved = trial.load_checkpoint()  # where an earlier attempt of this trial came to, or None
    if saved is not None:
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1

    for epoch in range(first, EPOCHS + 1):
        model.train()
        for images, labels in DataLoader(training, batch_size=128, shuffle=True):
            optimizer.zero_grad()
            loss_fn(model(images), labels).backward()
            optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        file = trial.dir / "state.pt"  # a folder of this trial's own: others run beside it
        torch.save(state, file)
        trial.save_checkpoint(file)
        trial.report({"val_acc": accuracy(model, validation)}, step=epoch)


if __name__ == "__main__":
    study = whet.tune(
        train,
        SPACE,
        objective={"val_acc": "maximize"},
        n_trials=10,
        timeout=300,
        workers=2,
        seed=0,
        name="torch-digits",
    )
    print(f"best accuracy {study.best_value:.4f} with {dict(study.best_config)}")
    print(f"kept in {Path('.whet').resolve()}")
