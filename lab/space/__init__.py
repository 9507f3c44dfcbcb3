"""Search spaces as data: primitives, genotypes, edits, sampling, tables of known accuracies."""

from lab.space.genotype import Edit, Genotype
from lab.space.moves import MUTATION_KINDS, mutate, neighbours, sample
from lab.space.space import ABSENT, ALL_SPACES, DARTS, MACRO, NB125, NB201, SPACES, Edge, Space
from lab.space.table import Table, find_table
from lab.space.text import genotype_text, parse_genotype

__all__ = [
    "ABSENT",
    "ALL_SPACES",
    "DARTS",
    "MACRO",
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
    "genotype_text",
    "mutate",
    "neighbours",
    "parse_genotype",
    "sample",
]
