"""Text models on a tiny encoder from random weights against TF-IDF with logistic regression, on real sentences.

Every fold is held out once. A text model and the regression beside it train on the same sentences; no number of a
held fold decides anything. Class: accuracy, and the mean F1 of both classes. Span: the share of sentences whose span is
right at both ends (no span counts as one), and that among the sentences that have one.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lab.base import ReportTable, derive_seed, require
from lab.datasets import DataConfig
from lab.experiments.text_settings import TEXT_METHODS, TextBench
from lab.nn import eval_mode
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import RunConfig, build
from lab.text import Sentence, TextConfig, TextData
from lab.train import DeviceConfig, NullSink, OptimizerConfig, TrainingLoop

UNUSED = 0.02
"""Share of the search split, which nothing here reads."""
MODELS = ("criteria", "evidence")


def run(config: TextBench) -> dict[str, Any]:
    """Every method on every fold; what is there already is not measured again.

    Raises:
        ConfigError: no table is given.
    """
    require(bool(config.data), expected="the path of a table", got="none", hint="give --data nlupp.tsv")
    records = Records(config.folder, config.protocol)
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in config.methods}
    pieces = [
        (method, fold, seed)
        for fold in range(config.folds)
        for method in config.methods
        for seed in range(config.seeds if method in MODELS else 1)
    ]
    with progress_bar(len(pieces)) as bar:
        for method, fold, seed in pieces:
            row = records.read(f"{method}_{fold}_{seed}")
            if row is None:
                row = measure(config, method, fold, seed)
                records.write(f"{method}_{fold}_{seed}", row)
            rows[method].append(row)
            bar.step(f"{method}, fold {fold}, seed {seed}: {row['accuracy']:.2%}")
    return {
        "bench": "text",
        "config": {**asdict(config), "data": config.data.rsplit("/", 1)[-1], "folder": str(config.folder)},
        "machine": machine(),
        "results": {method: _figures(found) for method, found in rows.items()},
    }


def measure(config: TextBench, method: str, fold: int, seed: int) -> dict[str, Any]:
    """One method on one fold, read once."""
    began = time.process_time()
    task = "criteria" if TEXT_METHODS[method][0] == "class" else "evidence"
    if method in MODELS:
        figures = _train(_settings(config, task, fold, seed))
    else:
        settings = _settings(config, task, fold, 0)
        data = TextData(settings.data, settings.text, batch_size=2, device=torch.device("cpu"))
        figures = (
            _score_classes(*_baseline_classes(data, method)) if task == "criteria" else _baseline_spans(data, method)
        )
    return {"fold": fold, "seed": seed, **figures, "cpu_seconds": round(time.process_time() - began, 1)}


def _settings(config: TextBench, task: str, fold: int, seed: int) -> RunConfig:
    rest = 1 - config.train_share - UNUSED
    return RunConfig(
        recipe="text",
        data=DataConfig(name=config.data, train_share=config.train_share, search_share=UNUSED, selection_share=rest),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=derive_seed(seed, "text", fold) % 2**31,
        threads=config.threads,
        optimizer=OptimizerConfig(weight_lr=config.weight_lr, weight_decay=0.01, grad_clip=1.0),
        devices=DeviceConfig(device="cpu"),
        text=TextConfig(
            task=task,
            label_column="intents",
            label_value=config.intent,
            span_name=config.span,
            fold_column="fold",
            test_fold=str(fold),
            pooling=config.pooling,
            dropout=config.dropout,
            tiny_dim=config.dim,
            tiny_layers=config.layers,
        ),
    )


def _train(settings: RunConfig) -> dict[str, Any]:
    """Train a text model and read the held fold."""
    parts = build(settings)
    epochs = settings.total_epochs
    assert isinstance(parts.data, TextData)
    TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=epochs,
    ).run()
    network = parts.strategy.network
    assert network is not None
    found, wanted = [], []
    with torch.no_grad(), eval_mode(network):
        for x_B2L, y_B3 in parts.data.test():
            found.append(network(x_B2L).argmax(-1))
            wanted.append(y_B3)
    found_N, y_N3 = torch.cat(found), torch.cat(wanted)
    facts = {
        "parameters": parts.strategy.state().summary["parameters"],
        "train": len(parts.data.rows["train"]),
        "test": len(y_N3),
    }
    if settings.text.task == "criteria":
        return {**facts, **_score_classes(found_N.numpy(), y_N3[:, 0].numpy())}
    return {**facts, **_score_spans((found_N == y_N3[:, 1:]).all(-1).numpy(), (y_N3[:, 1] > 0).numpy())}


def _score_classes(found_N: NDArray[np.int64], wanted_N: NDArray[np.int64]) -> dict[str, Any]:
    from sklearn.metrics import f1_score

    accuracy = float((found_N == wanted_N).mean())
    return {"accuracy": accuracy, "macro_f1": float(f1_score(wanted_N, found_N, average="macro"))}


def _score_spans(hit_N: NDArray[np.bool_], has_N: NDArray[np.bool_]) -> dict[str, Any]:
    return {"accuracy": float(hit_N.mean()), "with_span": float(hit_N[has_N].mean()), "spans": int(has_N.sum())}


def _rows(data: TextData, *names: str) -> list[Sentence]:
    return [data.table.sentences[row] for name in names for row in data.rows[name].tolist()]


def _baseline_classes(data: TextData, method: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What a baseline says of the held sentences, and their classes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    names = ("train", "search", "selection") if method == "tfidf_all" else ("train",)
    train, test = _rows(data, *names), _rows(data, "test")
    label_T, wanted_N = np.array([each.label for each in train]), np.array([each.label for each in test])
    if method == "majority":
        return np.full_like(wanted_N, np.bincount(label_T).argmax()), wanted_N
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit([each.text for each in train], label_T)
    return model.predict([each.text for each in test]), wanted_N


def _baseline_spans(data: TextData, method: str) -> dict[str, Any]:
    """How often a baseline finds the span of the held sentences, in characters."""
    known = {_words(each) for each in _rows(data, "train") if each.span}
    test = _rows(data, "test")
    hits = [(_find(each.text.lower(), known) if method == "phrases" else None) == each.span for each in test]
    return _score_spans(np.array(hits), np.array([each.span is not None for each in test]))


def _words(sentence: Sentence) -> str:
    start, end = sentence.span or (0, 0)
    return sentence.text[start:end].lower()


def _find(text: str, known: set[str]) -> tuple[int, int] | None:
    """Where the longest of the known phrases stands in `text`, between words; None where none does."""
    for phrase in sorted(known, key=lambda each: (-len(each), each)):
        start = text.find(phrase)
        end = start + len(phrase)
        if start >= 0 and not text[max(start - 1, 0) : start].isalnum() and not text[end : end + 1].isalnum():
            return start, end
    return None


def _figures(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the pieces, and the deviation between them; sentences of all folds weigh alike."""
    figures: dict[str, Any] = {"pieces": len(found)}
    for name in ("accuracy", "macro_f1", "with_span"):
        values = [row[name] for row in found if name in row]
        if values:
            figures[name] = statistics.mean(values)
            figures[f"{name}_deviation"] = statistics.stdev(values) if len(values) > 1 else 0.0
            figures[f"{name}_of_piece"] = [round(value, 4) for value in values]
    figures |= {name: found[0][name] for name in ("parameters", "train") if name in found[0]}
    figures["cpu_seconds"] = statistics.mean(row["cpu_seconds"] for row in found)
    return figures


def summary(result: dict[str, Any]) -> ReportTable:
    """Every method."""
    rows = []
    for method, figures in result["results"].items():
        other = "macro_f1" if "macro_f1" in figures else "with_span"
        rows.append(
            (
                TEXT_METHODS[method][0],
                TEXT_METHODS[method][1],
                f"{figures['accuracy']:.3f} +- {figures['accuracy_deviation']:.3f}",
                f"{figures[other]:.3f} +- {figures[f'{other}_deviation']:.3f}",
                f"{figures['parameters']:,}" if "parameters" in figures else "-",
                f"{figures['cpu_seconds']:.0f}",
            )
        )
    config = result["config"]
    columns = ("says", "method", "accuracy", "macro-F1, or accuracy with a span", "parameters", "CPU seconds")
    title = (
        f"{config['data']}: {config['intent']} and {config['span']}, {config['folds']} folds, {config['epochs']} epochs"
    )
    return ReportTable(title=title, columns=columns, rows=tuple(rows))
