"""Train a small convolutional network on scikit-learn's handwritten digits and print how well it does after each epoch.

An ordinary script that knows nothing of whet; it needs torch and scikit-learn::

    python examples/torch_cnn_digits.py --lr 0.003 --epochs 9
    whet run --objective val_loss:min --scheduler asha --trials 40 --workers 2 examples/torch_cnn_digits.py \\
        --lr "loguniform(1e-5, 1)" --dropout "uniform(0, 0.8)" --epochs "budget(1, 27)"
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


def network(width: int, dropout: float) -> nn.Module:
    """Return a network for images of 8 by 8 pixels and ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * width * 16, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small convolutional network on handwritten digits")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--width", type=int, default=16, help="channels of the first layer")
    parser.add_argument("--dropout", type=float, default=0.2, help="share of the inputs of the last layer left out")
    parser.add_argument("--weight-decay", type=float, default=1e-4, help="pull of the weights towards zero")
    parser.add_argument("--batch-size", type=int, default=32, help="images per update")
    parser.add_argument("--epochs", type=int, default=27, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the order of the images")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    pixels, digits = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.as_tensor(digits, dtype=torch.int64)
    order = torch.randperm(len(labels))
    for_validation, for_training = order[:450], order[450:]

    model = network(args.width, args.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(1, args.epochs + 1):
        model.train()
        for batch in for_training[torch.randperm(len(for_training))].split(args.batch_size):
            optimizer.zero_grad()
            loss_of(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores = model(images[for_validation])
            val_loss = loss_of(scores, labels[for_validation]).item()
            val_acc = (scores.argmax(1) == labels[for_validation]).float().mean().item()
        print(f"epoch {epoch}: val_loss={val_loss:.4f} val_acc={val_acc:.4f}")


if __name__ == "__main__":
    main()
