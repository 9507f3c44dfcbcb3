"""`MutateDiscrete`: another kernel size, dilation, number of groups or of heads, stride and map sizes kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from torch import nn

from lab.agent.operators import ActionContext, MorphOperator, ranked
from lab.agent.scores import LAYER_SCORES
from lab.base import require_choice, require_range
from lab.morph import Morph, SetDilation, SetGroups, SetHeads, SetKernel

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, kw_only=True)
class MutateDiscrete(MorphOperator):
    """One discrete setting of one layer, one step up or down.

    A larger kernel and fewer groups keep the function exactly; a smaller kernel, dilation, more groups and another
    number of heads do not, and have to earn their place in a trial.
    """

    name: ClassVar[str] = "mutate"
    score: str = "random"
    """Which layer first, by a name of `LAYER_SCORES`."""
    largest_kernel: int = 7
    """Largest side of a kernel, odd, >= 3."""
    largest_dilation: int = 2
    """Largest dilation, >= 1."""

    def __post_init__(self) -> None:
        require_choice("score", self.score, LAYER_SCORES.keys())
        require_range("largest_kernel", self.largest_kernel, 3)
        require_range("largest_dilation", self.largest_dilation, 1)

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`; the settings of one layer in drawn order."""
        random = Random(context.seed)
        for layer in (*ranked(context, self.score), *_attentions(context.model)):
            settings = list(self._settings(layer, context.model.get_submodule(layer)))
            random.shuffle(settings)
            yield from settings

    def _settings(self, layer: str, module: nn.Module) -> Iterable[Morph]:
        if isinstance(module, nn.MultiheadAttention):
            for heads in (2 * module.num_heads, module.num_heads // 2):
                if heads and module.embed_dim % heads == 0:
                    yield SetHeads(layer, heads)
        if not isinstance(module, CONVOLUTIONS):
            return
        side = module.kernel_size[0]
        for kernel in (side + 2, side - 2):
            # No padding keeps the map size with an even kernel.
            if side % 2 and 1 <= kernel <= self.largest_kernel:
                yield SetKernel(layer, kernel)
        dilation = module.dilation[0] % self.largest_dilation + 1
        if side > 1 and dilation != module.dilation[0]:
            yield SetDilation(layer, dilation)
        depthwise = module.groups > 1 and module.groups == module.in_channels
        for groups in (module.groups * 2, module.groups // 2):
            fits = groups and module.in_channels % groups == 0 and module.out_channels % groups == 0
            if fits and not depthwise:
                yield SetGroups(layer, groups)


def _attentions(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
