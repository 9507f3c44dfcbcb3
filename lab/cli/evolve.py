"""`lab evolve`: the former spelling of `lab train agent`, with the model in front."""

from collections.abc import Sequence

from lab.cli.renamed import say_renamed
from lab.cli.train import agreed_recipe, take_recipe_flag, train


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    words = list(arguments)
    if words and not words[0].startswith("-"):
        # In that spelling the model was the first word.
        words[0:1] = ["--model", words[0]]
    flagged, words = take_recipe_flag(words)
    agreed_recipe("agent", flagged)
    say_renamed("lab evolve", "lab train agent")
    return train("agent", words)
