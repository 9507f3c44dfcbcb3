"""Search spaces as data: primitives, genotypes, edits, sampling, tables of known accuracies."""

from .genotype import Edit, Genotype
from .moves import MUTATION_KINDS, mutate, neighbours, sample
from .space import ABSENT, ALL_SPACES, DARTS, MACRO, NB125, NB201, SIZES, SPACES, Edge, Space
from .table import Table, find_table
from .text import genotype_text, parse_genotype

__all__ = [
    "ABSENT",
    "ALL_SPACES",
    "DARTS",
    "MACRO",
    "MUTATION_KINDS",
    "NB125",
    "NB201",
    "SIZES",
    "SPACES",
    "Edge",
    "Edit",
    "Genotype",
    "Space",
    "Table",
    "find_table",
    "genotype_text",
    "mutate",
    "neighbours",
    "parse_genotype",
    "sample",
]
