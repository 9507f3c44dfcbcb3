"""Search spaces as data: primitives, genotypes, edits, sampling, tables of known accuracies."""

from lab.space.genotype import Edit, Genotype
from lab.space.moves import MUTATION_KINDS, mutate, neighbours, sample
from lab.space.space import NB125, NB201, SPACES, Edge, Space
from lab.space.table import Table, find_table

__all__ = [
    "MUTATION_KINDS",
    "NB125",
    "NB201",
    "SPACES",
    "Edge",
    "Edit",
    "Genotype",
    "Space",
    "Table",
    "find_table",
    "mutate",
    "neighbours",
    "sample",
]
