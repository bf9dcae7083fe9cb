"""The networks of a course and of a guide to tuning: in a file of their own, as whoever loads them loads torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import whet
from tests.seeds.test_course_functions import TYPED, states
from tests.seeds.test_guide_functions import NETWORK
from whet.core.trial import State

IMAGES, LABELS = load_digits(return_X_y=True)


def tune(fn: Callable[..., Any], space: Any, **options: Any) -> whet.Study:
    return whet.tune(fn, space, **{"objective": "maximize", "seed": 42, "progress": False, **options})


# ---- the course: a model from the config, a trainable that returns a dict
def create_model(config: dict[str, Any]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, config["hidden_size"]),
        nn.ReLU(),
        nn.Dropout(config["dropout"]),
        nn.Linear(config["hidden_size"], 10),
    )


def create_trainable(model_fn: Callable[[dict[str, Any]], nn.Module], train_loader: Any, val_loader: Any) -> Any:
    def trainable(config: dict[str, Any]) -> dict[str, float]:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model = model_fn(config)
        optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
        for _ in range(config.get("epochs", 2)):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            n_right = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        return {"accuracy": n_right / sum(len(y) for _, y in val_loader)}

    return trainable


def loader(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of ten classes, each a bright block of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(10).repeat(20)
    images = torch.rand((200, 784), generator=generator)
    for row, label in enumerate(labels.tolist()):
        images[row, label * 78 : label * 78 + 78] += 1.0
    return list(zip(images.split(32), labels.split(32), strict=True))


@pytest.mark.slow
def test_a_model_from_the_config_and_the_metric_by_its_name() -> None:
    trainable = create_trainable(create_model, loader(0), loader(1))
    study = tune(trainable, TYPED, objective={"accuracy": "maximize"}, n_trials=4, workers=2)
    assert states(study) == {State.COMPLETED}
    assert study.best_value > 0.9
    again = trainable(dict(study.best_config))
    assert again["accuracy"] == pytest.approx(study.best_value, abs=0.05)


# ---- the guide
def objective(config: dict[str, Any]) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(8 * 8, config["hidden"]),
        nn.ReLU(),
        nn.Dropout(config["dropout"]),
        nn.Linear(config["hidden"], 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    loss_fn = nn.CrossEntropyLoss()
    images = torch.as_tensor(IMAGES / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.as_tensor(LABELS)
    train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=128, shuffle=True)
    model.train()
    for _ in range(2):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=512):
            correct += (model(x).argmax(1) == y).sum().item()
    return correct / len(labels[1400:])


@pytest.mark.slow
def test_a_torch_network_with_a_number_of_trials_and_a_time() -> None:
    study = tune(objective, NETWORK, n_trials=6, timeout=240, workers=2)
    assert states(study) == {State.COMPLETED}
    assert len(study.trials) == 6
    assert study.outcome is not None
    assert study.outcome.reason == "done"
    assert all(0.1 <= (trial.config or {})["dropout"] <= 0.5 for trial in study.trials)
    assert study.best_value > 0.7
    assert objective(dict(study.best_config)) == pytest.approx(study.best_value, abs=0.02)


def reporting_objective(config: dict[str, Any], trial: Any) -> float:
    """The guide's network, which reports after each epoch so that it can be pruned."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(8 * 8, config["hidden"]),
        nn.ReLU(),
        nn.Dropout(config["dropout"]),
        nn.Linear(config["hidden"], 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    images, labels = torch.as_tensor(IMAGES / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.as_tensor(LABELS)
    accuracy = 0.0
    for epoch in range(1, 10):
        model.train()
        for batch in torch.randperm(1400).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(images[1400:]).argmax(1) == labels[1400:]).float().mean().item()
        trial.report(accuracy, epoch)
    return accuracy


@pytest.mark.slow
def test_pruning_a_network_by_epochs() -> None:
    space = {"lr": (1e-4, 1e-1, "log"), "dropout": (0.1, 0.5), "hidden": [64, 128, 256]}
    study = tune(reporting_objective, space, fidelity={"epochs": (1, 9)}, scheduler="asha", sampler="random",
                 n_trials=14, timeout=240, workers=2)  # fmt: skip
    counts = Counter(trial.state for trial in study.trials)
    assert set(counts) == {State.COMPLETED, State.STOPPED}
    assert counts[State.STOPPED] >= 4
    assert study.best_value > 0.85
    assert len(study.best.curve) == 9
