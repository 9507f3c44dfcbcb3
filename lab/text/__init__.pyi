"""Text classifiers on pretrained encoders: the class of a sentence, and the span that is the evidence for it."""

from .build import load_encoder, make_text_model, tiny_encoder
from .config import HIGHEST_RATE, POOLINGS, TASKS, TINY, TextConfig
from .data import TextData
from .encoder import HEADS, LoadReport, load_pretrained
from .losses import TextLoss
from .models import ClassificationHead, CriteriaModel, EvidenceModel, JointModel, Pooling, SharedModel, SpanHead
from .sentences import write_sentences
from .strategy import TextStrategy, make_adamw
from .table import Sentence, TextTable, read_table
from .tokens import Tokens, load_tokenizer, tokenize, word_tokenizer

__all__ = [
    "HEADS",
    "HIGHEST_RATE",
    "POOLINGS",
    "TASKS",
    "TINY",
    "ClassificationHead",
    "CriteriaModel",
    "EvidenceModel",
    "JointModel",
    "LoadReport",
    "Pooling",
    "Sentence",
    "SharedModel",
    "SpanHead",
    "TextConfig",
    "TextData",
    "TextLoss",
    "TextStrategy",
    "TextTable",
    "Tokens",
    "load_encoder",
    "load_pretrained",
    "load_tokenizer",
    "make_adamw",
    "make_text_model",
    "read_table",
    "tiny_encoder",
    "tokenize",
    "word_tokenizer",
    "write_sentences",
]
