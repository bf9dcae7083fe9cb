"""Reading metrics out of what programs print: real lines, then hostile ones."""

import json
import math
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whet.errors import UsageError
from whet.executors.metrics import MetricReader, Reading, closest_metrics, find_metric, strip_ansi

NAN = float("nan")
INF = float("inf")
LIMIT = 64 * 1024


def read(*lines):
    """The reading of the last line."""
    reader = MetricReader()
    for line in lines[:-1]:
        reader.feed(line)
    return reader.feed(lines[-1])


def same(a, b):
    """Equal, NaN included."""
    return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)


def check(reading, step, metrics):
    """A step of None stands for the first that is counted."""
    assert reading is not None
    assert same(reading.metrics, metrics), reading.metrics
    assert (reading.step, reading.counted) == ((1, True) if step is None else (step, False))
    assert all(type(value) is float for value in reading.metrics.values())


# ---- the table of the command line's reference, row by row

KERAS = "1875/1875 ━━━━━━━━━━━━━━━━━━━━ 2s 1ms/step - accuracy: 0.93 - loss: 0.21 - val_loss: 0.3"
REFERENCE = [
    (["epoch 3: val_acc=0.93 loss: 0.21"], 3, {"val_acc": 0.93, "loss": 0.21}),
    (["Epoch 3 | val_acc 0.93 | loss 0.21"], 3, {"val_acc": 0.93, "loss": 0.21}),
    (["Epoch 3/10", KERAS], 3, {"accuracy": 0.93, "loss": 0.21, "val_loss": 0.3}),
    (['{"step": 40, "val/loss": 0.3, "note": "x"}'], 40, {"val/loss": 0.3}),
    (["{'loss': 0.3, 'epoch': 1.5}"], 1.5, {"loss": 0.3}),
    (["[step 40] loss 1.2e-03"], 40, {"loss": 0.0012}),
    (["iter 40, loss=0.0012"], 40, {"loss": 0.0012}),
    (["step=40 loss=0.0012"], 40, {"loss": 0.0012}),
    (["Validation accuracy: 93.1%"], None, {"Validation accuracy": 93.1}),
    (["  3%|▎ | 3/100 [00:01<00:40, loss=0.21]"], None, {"loss": 0.21}),
    (["Train Epoch: 1 [640/60000 (1%)]\tLoss: 0.31"], 1, {"Loss": 0.31}),
    (
        ["test set: Average loss: 0.0481, Accuracy: 9845/10000 (98%)"],
        None,
        {"Average loss": 0.0481, "Accuracy": 0.9845},
    ),
    (["2026-11-20 10:11:12 INFO lr=0.1"], None, {"lr": 0.1}),
    (["val_loss: nan"], None, {"val_loss": NAN}),
    (["val_loss=-inf"], None, {"val_loss": -INF}),
]


@pytest.mark.parametrize(("lines", "step", "metrics"), REFERENCE, ids=lambda v: v[-1][:40] if type(v) is list else "")
def test_the_reference(lines, step, metrics):
    check(read(*lines), step, metrics)


@pytest.mark.parametrize("line", ["http://x:80/y", "12:30:01", "version: 1.2.3"])
def test_the_reference_reads_nothing(line):
    assert read(line) is None


# ---- lines of real programs

REAL = [
    # Keras, verbose=2 and in a pipe
    (
        ["Epoch 7/10", "938/938 - 2s - 2ms/step - accuracy: 0.93 - val_loss: 0.11"],
        7,
        {"accuracy": 0.93, "val_loss": 0.11},
    ),
    (
        ["Epoch 1/2", " 12/938 [..............................] - ETA: 5:00 - loss: 2.3012 - accuracy: 0.1"],
        1,
        {"loss": 2.3012, "accuracy": 0.1},
    ),
    (
        [
            "Epoch 1/2",
            "\x1b[1m1875/1875\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m2s\x1b[0m 1ms/step - loss: 0.2",
        ],
        1,
        {"loss": 0.2},
    ),
    # PyTorch's examples and tutorials
    (
        ["Epoch: [1][  10/5005]\tTime  0.300 ( 0.500)\tLoss 6.9e+00 (7.0e+00)\tAcc@1   0.00 (  0.10)"],
        1,
        {"Time": 0.3, "Loss": 6.9, "Acc@1": 0.0},
    ),
    ([" *   Acc@1 69.758 Acc@5 89.078"], None, {"Acc@1": 69.758, "Acc@5": 89.078}),
    (["[1,  2000] loss: 2.173"], 1, {"loss": 2.173}),
    (["Accuracy of the network on the 10000 test images: 54 %"], None, {"Accuracy": 54}),
    (["Epoch 0/24", "----------", "val Loss: 0.31 Acc: 0.91"], 0, {"val Loss": 0.31, "Acc": 0.91}),
    (["Epoch [1/5], Step [100/600], Loss: 0.3"], 1, {"Loss": 0.3}),
    (["[0/5][50/1583]\tLoss_D: 0.3\tLoss_G: 4.1\tD(x): 0.9"], 0, {"Loss_D": 0.3, "Loss_G": 4.1, "D x": 0.9}),
    (["Epoch: 0001 loss_train: 1.9 acc_train: 0.2 time: 0.3s"], 1, {"loss_train": 1.9, "acc_train": 0.2}),
    (["loss: tensor(0.31, device='cuda:0', grad_fn=<NllLossBackward0>)"], None, {"loss": 0.31}),
    # Lightning
    (
        ["Epoch 3: 100%|██| 938/938 [00:10<00:00, 90.1it/s, v_num=3, train_loss=0.21, val_acc=0.93]"],
        3,
        {"v_num": 3, "train_loss": 0.21, "val_acc": 0.93},
    ),
    (
        ["Epoch 3/9 ━━━━━━ 938/938 0:00:10 • 0:00:00 90.12it/s v_num: 3.000 val_acc: 0.93"],
        3,
        {"v_num": 3, "val_acc": 0.93},
    ),
    (["│         test_acc          │    0.9312000274658203     │"], None, {"test_acc": 0.9312000274658203}),
    # Hugging Face
    (
        ["{'eval_loss': 0.41, 'grad_norm': nan, 'learning_rate': 5e-05, 'eval_runtime': 1.2, 'epoch': 1.0}"],
        1,
        {"eval_loss": 0.41, "grad_norm": NAN, "learning_rate": 5e-05, "eval_runtime": 1.2},
    ),
    (["  1%|  | 10/1000 [00:01<01:00, 9.00it/s]{'loss': 0.3, 'epoch': 0.1}"], 0.1, {"loss": 0.3}),
    (["11/20/2026 10:11:12 - INFO - __main__ - epoch 1: {'accuracy': 0.84}"], 1, {"accuracy": 0.84}),
    # boosting
    (["[10]\ttrain-logloss:0.123\teval-logloss:0.234"], 10, {"train-logloss": 0.123, "eval-logloss": 0.234}),
    (["[10]\tvalid_0's l2: 0.24\tvalid_0's auc: 0.9"], 10, {"valid_0's l2": 0.24, "valid_0's auc": 0.9}),
    (
        ["10:\tlearn: 0.5\ttest: 0.4\tbest: 0.4 (10)\ttotal: 1s\tremaining: 2s"],
        10,
        {"learn": 0.5, "test": 0.4, "best": 0.4},
    ),
    # scikit-learn
    (["Iteration 5, loss = 0.35"], 5, {"loss": 0.35}),
    (["-- Epoch 1", "Norm: 22.30, NNZs: 54, Avg. loss: 0.43"], 1, {"Norm": 22.3, "NNZs": 54, "Avg. loss": 0.43}),
    (
        ["[CV 1/5] END ........C=1, gamma=0.1;, score=0.933 total time=   0.0s"],
        None,
        {"C": 1, "gamma": 0.1, "score": 0.933},
    ),
    (
        ["      Iter       Train Loss   Remaining Time ", "         1        1.2613            1.02s"],
        1,
        {"Train Loss": 1.2613},
    ),
    # language models
    (["| epoch 001 | loss 4.5 | nll_loss 3.2 | clip 0%"], 1, {"loss": 4.5, "nll_loss": 3.2, "clip": 0}),
    (
        ["| epoch 004 | valid on 'valid' subset | valid loss 3.69 | valid ppl 12.9"],
        4,
        {"valid loss": 3.69, "valid ppl": 12.9},
    ),
    (["| epoch 005:   1000 / 8223 loss=2.17 (3.20), ppl=33.6"], 5, {"loss": 2.17, "ppl": 33.6}),
    (
        [
            " iteration      100/    1000 | elapsed time per iteration (ms): 500.1 | lm loss: 1.2E+00 | "
            "number of nan iterations:   0 |"
        ],
        100,
        {"elapsed time per iteration ms": 500.1, "lm loss": 1.2, "number of nan iterations": 0},
    ),
    (["step 0: train loss 4.27, val loss 4.26"], 0, {"train loss": 4.27, "val loss": 4.26}),
    (["iter 10: loss 3.2, time 12.3ms, mfu 3.20%"], 10, {"loss": 3.2, "mfu": 3.2}),
    # vision
    (
        [
            "2026-05-21 04:01:24,249 - mmdet - INFO - Epoch [1][15/678]\tlr: 0.0002, eta: 1 day, 16:21:05, "
            "s0.acc: 95.7, loss: 3.4"
        ],
        1,
        {"lr": 0.0002, "s0.acc": 95.7, "loss": 3.4},
    ),
    (["04/16 17:57:34 - mmengine - INFO - Epoch(val) [1][100/100]  coco/bbox_mAP: 0.37"], 1, {"coco/bbox_mAP": 0.37}),
    (
        ["[08/20 10:11:12 d2.utils.events]:  eta: 0:10:12  iter: 19  total_loss: 2.1  lr: 4e-4  max_mem: 2033M"],
        19,
        {"total_loss": 2.1, "lr": 4e-4},
    ),
    # reinforcement learning
    (["| rollout/           |          |", "|    ep_rew_mean     | 195      |"], None, {"ep_rew_mean": 195}),
    (["|             Epoch |               0 |", "|      AverageEpRet |            21.3 |"], 0, {"AverageEpRet": 21.3}),
    (["Eval num_timesteps=500, episode_reward=200.00 +/- 0.00"], 500, {"episode_reward": 200}),
    (["Episode 100\tAverage Score: -12.3"], 100, {"Average Score": -12.3}),
    # loggers
    (["I1120 10:11:12.123456 140 train.py:10] step: 40, loss: 0.31"], 40, {"loss": 0.31}),
    (["2026-11-20 10:11:12,123 - root - INFO - loss: 0.3"], None, {"loss": 0.3}),
    (["INFO:root:Validation accuracy: 0.93"], None, {"Validation accuracy": 0.93}),
    (["2026-11-20 10:11:12.123 | INFO     | __main__:train:42 - loss: 0.3"], None, {"loss": 0.3}),
    (["2026-11-20 10:11 [info     ] eval finished                  accuracy=0.9"], None, {"accuracy": 0.9}),
    (["[Fri Nov 20 10:11:12 2026] INFO The loss is 0.3"], None, {"loss": 0.3}),
    # other languages
    (['[1] "RMSE: 0.31"'], None, {"RMSE": 0.31}),
    (["               Accuracy : 0.9333"], None, {"Accuracy": 0.9333}),
    (["[ Info: epoch = 3, loss = 0.31"], 3, {"loss": 0.31}),
    (["average loss = 0.31"], None, {"average loss": 0.31}),
    # and what people write themselves
    (["Cost after iteration 100: 0.69"], 100, {"Cost": 0.69}),
    (["Loss at step 100: 3.2"], 100, {"Loss": 3.2}),
    (["After epoch 3, loss=0.3"], 3, {"loss": 0.3}),
    (["Train loss=0.3, val loss=0.4"], None, {"Train loss": 0.3, "val loss": 0.4}),
    (["Loss (train): 0.3, Loss (val): 0.4"], None, {"Loss train": 0.3, "Loss val": 0.4}),
    (["R^2 (test) = 0.9"], None, {"R^2 test": 0.9}),
    (["**Accuracy**: 0.93"], None, {"Accuracy": 0.93}),
    (["acc [%]: 93"], None, {"acc": 93}),
    (["Mean reward: 195.3 ± 12.1"], None, {"Mean reward": 195.3}),
    (["Eval metrics: {'loss': np.float64(0.3), 'top': {'k': 1}}"], None, {"loss": 0.3, "top/k": 1}),
    (["val_loss: 0.31 (best: 0.30 at epoch 7)"], None, {"val_loss": 0.31, "best": 0.3}),
    (["loss=1.,acc=.5"], None, {"loss": 1, "acc": 0.5}),
    (["loss nan acc 0.1"], None, {"loss": NAN, "acc": 0.1}),
    (["損失: 0.3"], None, {"損失": 0.3}),
]


@pytest.mark.parametrize(("lines", "step", "metrics"), REAL, ids=lambda v: v[-1][:40] if type(v) is list else "")
def test_real_lines(lines, step, metrics):
    check(read(*lines), step, metrics)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "Epoch 3/10",
        "Found 3 files",
        "Epoch 3 took 12.3 seconds",
        "time: 12.3ms",
        "memory=3GB",
        "samples: 1,234",
        "commit: 0x7f3a",
        "id: 123e4567-e89b-12d3-a456-426614174000",
        "date: 2026-11-20T10:11:12.123+00:00",
        "ip: 127.0.0.1",
        "listening on localhost:6006",
        "example.com:8080 is up",
        "device: cuda:0",
        "train.py:10: UserWarning: be careful",
        '  File "train.py", line 10, in main',
        "torch==2.1.0",
        "Python version: 3.11",
        "saved /runs/lr=0.1/epoch=3-val_loss=0.31.ckpt",
        "saved ../runs/lr=0.1",
        r"saved C:\runs\lr=0.1",
        "saved epoch=3-val_loss=0.31.ckpt",
        "see https://example.com/?lr=0.1",
        "note: 'lr=0.1'",
        "Training: 45%|████▌     | 450/1000 [00:10<00:12, 42.1it/s]",
        "pid: 1234",
        "Nov 20 2026",
        "20 November 2026 10:11",
        "loss: high",
        "loss: [0.3, 0.4]",
        "loss: 1_000",
        "loss: ٣",
        "Early stopping at epoch 12",
    ],
)
def test_what_is_no_metric(line):
    assert read(line) is None


# ---- tables

FASTAI = [
    "epoch     train_loss  valid_loss  accuracy  time    ",
    "0         0.523       0.410       0.900     00:12     ",
]
SPACY = [
    "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  SCORE ",
    "---  ------  ------------  --------  ------  ------",
    "  0     200         50.01   2300.22   70.12    0.70",
]
YOLO = [
    "      Epoch    GPU_mem   box_loss  Instances       Size",
    "    31/1000      6.73G      1.235         11        640: 100%|██████████| 16/16 [00:05<00:00,  2.83it/s]",
]
YOLO_VAL = [
    "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██| 8/8 [00:03]",
    "                   all        722       1444      0.939      0.927      0.967      0.551",
]
REPORT = [
    "              precision    recall  f1-score   support",
    "",
    "           0       0.97      1.00      0.98        99",
    "    accuracy                           0.96       450",
    "   macro avg       0.96      0.95      0.94       450",
]
AP = ["|   AP   |  AP50  |", "|:------:|:------:|", "| 37.020 | 58.110 |"]
BAYES = [
    "|   iter    |  target   |",
    "-------------------------",
    "| \x1b[0m1        \x1b[0m | \x1b[0m0.31     \x1b[0m |",
]


@pytest.mark.parametrize(
    ("lines", "step", "metrics"),
    [
        (FASTAI, 0, {"train_loss": 0.523, "valid_loss": 0.41, "accuracy": 0.9}),
        (SPACY, 200, {"E": 0, "LOSS TOK2VEC": 50.01, "LOSS NER": 2300.22, "ENTS_F": 70.12, "SCORE": 0.7}),
        (YOLO, 31, {"box_loss": 1.235, "Instances": 11, "Size": 640}),
        (
            [*YOLO[:1], *YOLO_VAL],
            None,
            {"Images": 722, "Instances": 1444, "Box P": 0.939, "R": 0.927, "mAP50": 0.967, "mAP50-95": 0.551},
        ),
        (REPORT[:4], None, {"accuracy": 0.96}),
        (
            REPORT,
            None,
            {
                "macro avg/precision": 0.96,
                "macro avg/recall": 0.95,
                "macro avg/f1-score": 0.94,
                "macro avg/support": 450,
            },
        ),
        (AP, None, {"AP": 37.02, "AP50": 58.11}),
        (BAYES, 1, {"target": 0.31}),
        (["epoch,train_loss,val_loss", "1,0.3,0.4"], 1, {"train_loss": 0.3, "val_loss": 0.4}),
        (["epoch\tloss\tnote", "1\t0.3\t-"], 1, {"loss": 0.3}),
    ],
    ids=["fastai", "spacy", "yolo", "yolo-val", "report-accuracy", "report", "markdown", "bayes", "csv", "tsv"],
)
def test_tables(lines, step, metrics):
    check(read(*lines), step, metrics)


def test_a_table_outlives_other_output_and_a_new_header_replaces_it():
    row = "1         0.5         0.40        0.91      00:12"
    assert read(*FASTAI, "UserWarning: something", "loading, please wait", row).metrics["train_loss"] == 0.5
    assert read(*FASTAI, "epoch  a  b  c  took", row).metrics == {"a": 0.5, "b": 0.4, "c": 0.91}


def test_numbers_without_a_header_or_with_another_count_are_nothing():
    assert read("1  0.5  0.4") is None
    assert read(FASTAI[0], "1  0.5  0.4") is None
    assert read("x" * 2000 + "  loss", "1  0.5") is None
    assert read("Epoch 3 | 0.2") is None


# ---- steps


def test_an_epoch_goes_before_a_step_and_a_step_before_the_header():
    assert read("loss=0.3 step=40 epoch=2").step == 2
    assert read('{"global_step": 400, "epoch": 2, "loss": 1}').step == 2
    assert read("Epoch 3/10", "step 40 loss 0.3").step == 40
    assert read("step 40 loss 0.3 iter 7").step == 40


def test_whole_steps_are_ints_and_the_others_floats():
    for text, expected in [("3", 3), ("3.0", 3), ("003", 3), ("1e3", 1000), ("1.5", 1.5), ("-1", -1)]:
        step = read(f"epoch={text} loss=1").step
        assert step == expected
        assert type(step) is type(expected)


def test_a_step_that_is_not_finite_is_no_step():
    reading = read("epoch=nan step=inf loss=1")
    assert (reading.step, reading.counted) == (1, True)


@pytest.mark.parametrize(
    "name",
    ["epoch", "EPOCH", "step", "iter", "iteration", "it", "global_step", "train/epoch", "train_step", "epoch_num"],
)
def test_names_of_steps(name):
    assert read(f"{name}=7 loss=1").step == 7


@pytest.mark.parametrize(
    "name", ["epochs", "best_epoch", "max_steps", "iterations", "step_size", "n_iter", "warmup_step"]
)
def test_names_that_are_like_those_of_steps(name):
    assert read(f"{name}=7 loss=1") == Reading(1, {name: 7.0, "loss": 1.0}, True)


def test_counts_are_per_metric():
    reader = MetricReader()
    steps = []
    for _ in range(3):
        reader.feed("train_loss: 0.5")
        reader.feed("train_loss: 0.4")
        steps.append(reader.feed("val_loss: 0.3").step)
    assert steps == [1, 2, 3]
    assert reader.feed("train_loss: 0.3 val_loss: 0.2").step == 7
    assert reader.feed("val_loss: 0.2").step == 8


def test_counts_of_very_many_metrics_stay_bounded_and_rise():
    reader = MetricReader()
    steps = [reader.feed(f"m{i}=1").step for i in range(10_000)]
    assert len(reader._counts) < 5000
    assert steps[:3] == [1, 1, 1]
    assert steps[-1] > 1


def test_a_header_holds_until_the_next():
    reader = MetricReader()
    assert reader.feed("Epoch 1/3") is None
    assert reader.feed("loss: 0.3") == Reading(1, {"loss": 0.3}, False)
    assert reader.feed("loss: 0.2").step == 1
    assert reader.feed("Epoch 2") is None
    assert reader.feed("loss: 0.1").step == 2
    assert reader.feed_json('{"loss": 0.1}').step == 2


def test_a_configuration_is_no_header():
    reader = MetricReader()
    for line in ["epoch: 100", "step: 30", "Namespace(epoch=100, lr=0.1)"]:
        reader.feed(line)
    assert [reader.feed("val_loss: 0.3").step for _ in range(2)] == [1, 2]
    reader.feed("Epoch 1")
    assert reader.feed("val_loss: 0.3") == Reading(1, {"val_loss": 0.3}, False)


def test_a_pretty_printed_object_reads_line_by_line():
    lines = json.dumps({"epoch": 1, "val": {"loss": 0.5}}, indent=2).splitlines()
    reader = MetricReader()
    readings = [reading for line in lines if (reading := reader.feed(line))]
    assert readings == [Reading(1, {"loss": 0.5}, False)]


# ---- JSON


def test_json_keeps_numbers_only_and_flattens():
    line = '{"a": 1, "b": {"c": 2.5, "d": {"e": -1e-3}}, "f": true, "g": "0.5", "h": null, "i": [1], "step": 3.0}'
    for reading in (read(line), MetricReader().feed_json(line)):
        assert reading == Reading(3, {"a": 1.0, "b/c": 2.5, "b/d/e": -1e-3}, False)


def test_json_numbers_of_any_size():
    line = f'{{"a": NaN, "b": -Infinity, "c": 1e400, "d": {"9" * 400}, "e": -{"9" * 20_000}}}'
    assert same(MetricReader().feed_json(line).metrics, {"a": NAN, "b": -INF, "c": INF, "d": INF, "e": -INF})
    assert read("loss: " + "9" * 400).metrics == {"loss": INF}


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "[1, 2]", "3", '"x"', "null", '{"a": "x"}', '{"a":', "\x00", '{"": {}}']
)
def test_json_without_metrics(line):
    assert MetricReader().feed_json(line) is None


def test_a_line_of_the_metrics_file_may_be_plain_text():
    assert MetricReader().feed_json("step=3 loss=0.5") == Reading(3, {"loss": 0.5}, False)
    assert MetricReader().feed_json("{'loss': 0.5}").metrics == {"loss": 0.5}


def test_the_last_of_two_equal_names_wins():
    assert MetricReader().feed_json('{"a": 1, "a": 2}').metrics == {"a": 2}
    assert read("Train Loss: 0.3 Acc: 0.9 | Val Loss: 0.4 Acc: 0.8").metrics["Acc"] == 0.8


def test_names_that_cannot_be_shown_are_left_out():
    line = json.dumps({"ok": 1, "a\nb": 1, "\x1b[31mred": 1, "\ud800": 1, "x" * 300: 1, "": 1, "_": 1})
    assert MetricReader().feed_json(line).metrics == {"ok": 1.0}


# ---- the user's own pattern


def test_a_pattern_with_name_and_value_and_step():
    reader = MetricReader(r"(?:at (?P<step>\d+) )?(?P<name>\w+) -->> (?P<value>\S+)")
    assert reader.feed("at 7 score -->> 0.5%") == Reading(7, {"score": 0.5}, False)
    assert reader.feed("a -->> 9/10 b -->> nan,").metrics == {"a": 0.9}
    assert reader.feed("plain=3").metrics == {"plain": 3}


def test_a_pattern_whose_groups_are_metrics():
    reader = MetricReader(r"<(?P<epoch>\d+)/\d+> l>(?P<val_loss>[\d.]+) (?P<acc>[\d.]+)?")
    assert reader.feed("<3/9> l>0.5 ") == Reading(3, {"val_loss": 0.5}, False)


def test_a_pattern_wins_over_what_is_built_in():
    reader = MetricReader(r"avg (?P<loss>[\d.]+)")
    assert reader.feed("step 3: loss=0.9 acc=0.5 (avg 0.7)") == Reading(3, {"loss": 0.7, "acc": 0.5, "avg": 0.7}, False)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression"),
        (r"loss (\d+)", "names no metric"),
        (r"(?P<step>\d+)", "names no metric"),
        (r"(?P<name>\w+)", r"no \(\?P<value>"),
        (r"(?P<value>\d+)", r"no \(\?P<name>"),
        ("", "names no metric"),
    ],
)
def test_a_pattern_that_cannot_work(pattern, message):
    with pytest.raises(UsageError, match=message):
        MetricReader(pattern)


# ---- names


def test_find_metric():
    seen = ["val_loss", "Validation accuracy", "eval/f1-score", "loss", "Loss"]
    assert find_metric("val_loss", seen) == "val_loss"
    assert find_metric("val/loss", seen) == "val_loss"
    assert find_metric("VAL-LOSS", seen) == "val_loss"
    assert find_metric("validation_accuracy", seen) == "Validation accuracy"
    assert find_metric("eval_f1_score", seen) == "eval/f1-score"
    assert find_metric("loss", seen) == "loss"
    assert find_metric("Loss", seen) == "Loss"
    assert find_metric("LOSS", seen) is None  # ambiguous
    assert find_metric("accuracy", seen) is None
    assert find_metric("val loss", ["val-loss", "val_loss"]) is None  # ambiguous
    assert find_metric("-", ["/"]) is None
    assert find_metric("x", []) is None
    assert find_metric("a b", iter(["a_b", "a_b"])) == "a_b"


def test_closest_metrics():
    seen = ["train_loss", "validation_loss", "lr", "accuracy"]
    assert closest_metrics("val_loss", seen)[0] == "validation_loss"
    assert closest_metrics("ACC", seen) == ["accuracy"]
    assert closest_metrics("zzz", seen) == []
    assert len(closest_metrics("m", (f"m{i}" for i in range(10**5)), n=3)) == 3
    assert closest_metrics("", ["", "a"]) in ([], [""])


# ---- terminals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07loss", "loss"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;2\x1b\\after", "after"),
        ("\x1b(Btext\x1b7\x1bM", "text"),
        ("\x9b31mred\x9d0;t\x9cx", "redx"),
        ("abc\b\bX", "aX"),
        ("\b\b\ba", "a"),
        ("a\n\bb", "a\nb"),
        ("a\x00b\x07\x7f\x85\r", "ab"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("\x1b[31", ""),
        ("\x1b]never ended", ""),
        ("\x1b\x1b[31mx", "x"),
    ],
)
def test_strip_ansi(text, expected):
    assert strip_ansi(text) == expected


@given(st.text(st.sampled_from("\x1b[]()?;0mPXa\x07\x9b\x9d\x9c\\\b\r\n\x00")))
def test_strip_ansi_leaves_no_control(text):
    stripped = strip_ansi(text)
    assert not {char for char in stripped if char < " " or "\x7f" <= char <= "\x9f"} - {"\n", "\t"}
    assert strip_ansi(stripped) == stripped


# ---- hostile lines

HOSTILE = [
    "a=1 ", "a: 1,", "a 1 ", "a 1 of ", "of 1 ", "w ", "a is 1 ", "1", "1 ", "1,", "1.", "1/", "1/2", "1 / ", "1:2",
    "1%|", "1e", "-", "--", "=", "==", ":", "::", ".", "..", "a.", "a-", "a/", "/a", "~", "C:\\", "a://", "Ab. ", "+-",
    "|", "1 | ", "│", "(", "[", "{", "{'a':", '{"a":', "x={", "a=(", "(a)=", "a(b", ")", "}", "[[", "{}", '"', "'",
    "'\\", "\\'", "'a':", "% )", "epoch ", "epoch [", "Epoch(a) [", "train ", "train_", "is ", "validation ", "the ",
    "np.float64(", "<tf.Tensor: ", "tensor(", "nan ", "infinit", "-inf ", "\t", "  ", "a  ", "1  ", "1\t", "█", "1% ━",
    "٣", "²", "日本", "�", "\udcff", "𝟙", "#1", "*", "\x00", "\x1b", "\x1b[", "\x1b]", "\x1b[0", "\b", "a\b", '[1] "',
    "[ 1 , ", "a'b", "{a=1}", "1.2.3 ", "12:30:01 ", "http://x ",
]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("start", range(0, len(HOSTILE), 8))
def test_lines_of_64_kib_end(start):
    """A search that goes back over the line for each of its characters would not end within the timeout."""
    for unit in HOSTILE[start : start + 8]:
        many = unit * (LIMIT // len(unit))
        for line in (
            many,
            "a" + many[: LIMIT // 2] + "=1",
            "{" + many + "}",
            many[: LIMIT // 2] + " nan " + many[: LIMIT // 4],
        ):
            reader = MetricReader()
            reader.feed("epoch  loss  acc")
            reader.feed(line)
            reader.feed_json(line)


def calls(line):
    """How many function calls it takes to read a line."""
    reader, count = MetricReader(), 0

    def count_calls(frame, event, arg):
        nonlocal count
        count += 1

    previous = sys.getprofile()
    sys.setprofile(count_calls)
    try:
        reader.feed(line)
    finally:
        sys.setprofile(previous)
    return count


@pytest.mark.parametrize(
    "unit", ["a=1 ", "w w of 1 ", "of 1 ", "a 1 of ", "train ", "{'a':", "epoch 1 ", "a is 1 ", "| 1 "]
)
def test_the_work_grows_with_the_length_only(unit):
    assert calls(unit * 4000) < 2.5 * calls(unit * 2000)
    assert calls("w " * 4000 + "of " + unit * 4000) < 2.5 * calls("w " * 2000 + "of " + unit * 2000)


def test_the_memory_grows_with_the_length_only():
    tracemalloc.start()
    try:
        read("{'a': " * (LIMIT // 6) + "1")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_many_names_on_one_line():
    line = " ".join(f"m{i}={i}" for i in range(6000))
    assert read(line).metrics == {f"m{i}": float(i) for i in range(6000)}


def test_deep_nesting():
    assert read("[" * 10_000) is None
    assert read('{"a":' * 10_000 + "1" + "}" * 10_000) is None
    assert read("{'a': " * 50 + "{'b': 1}").metrics == {"/".join("a" * 50) + "/b": 1.0}
    assert read('{"a":' * 50 + "1" + "}" * 50).metrics == {"/".join("a" * 50): 1.0}


PIECES = st.sampled_from(
    [
        *HOSTILE,
        "loss",
        "epoch",
        "=",
        ": ",
        "0.3",
        "nan",
        "9" * 400,
        " ",
        "step 3",
        "{'a': ",
        "}",
        "Epoch 3/10",
        ", ",
        "\t",
        "%",
    ]
)


@given(st.lists(st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=30).map("".join)), max_size=4))
@example(["{" * 3 + "}" * 9 + "a=1"])
@example(["E  #", "0  1", "all  1  2"])
def test_any_text_reads_without_an_error(lines):
    reader = MetricReader(r"(?P<name>\w*) (?P<value>\S*)")
    for line in lines:
        for reading in (reader.feed(line), reader.feed_json(line)):
            if reading is None:
                continue
            assert reading.metrics
            assert all(type(value) is float for value in reading.metrics.values())
            assert all(name and name.isprintable() and len(name) <= 200 for name in reading.metrics)
            assert type(reading.step) in (int, float)
            assert math.isfinite(reading.step)
            assert not (reading.counted and type(reading.step) is float)


@given(
    st.from_regex(r"[a-z][a-z_/]{2,10}[a-z]", fullmatch=True).filter(lambda name: read(f"{name}=1") is not None),
    st.floats(),
    st.sampled_from(
        ["{}={}", "{}: {}", "{} = {}", "step 3 | {}: {}", "[step 3] {} {}", '{{"{}": {}}}', "{{'{}': {}}}"]
    ),
)
def test_every_float_comes_back(name, value, form):
    assert same(read(form.format(name, value)).metrics, {name: value})


def test_the_reader_needs_no_heavy_modules():
    code = "import sys, whet.executors.metrics; sys.exit('numpy' in sys.modules or 'difflib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- tracebacks
def test_a_traceback_holds_no_metrics_and_hides_none() -> None:
    reader = MetricReader()
    lines = """\
loss=0.5
Traceback (most recent call last):
  File "train.py", line 30, in <module>
    main(lr=0.1)
    ~~~~^^^^^^^^
  [Previous line repeated 3 more times]
torch.cuda.OutOfMemoryError: not enough values to unpack (expected = 2, got 1)

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "train.py", line 40, in main
    fit(epochs=3)
ValueError: bad lr=3
acc=0.25
Traceback (most recent call last):
  File "train.py", line 41, in main
val_loss=0.125
KeyError: lr=0.3
  top5=0.75
"""
    seen = [dict(reading.metrics) for line in lines.splitlines() if (reading := reader.feed(line))]
    assert seen == [{"loss": 0.5}, {"acc": 0.25}, {"val_loss": 0.125}, {"lr": 0.3}, {"top5": 0.75}]
