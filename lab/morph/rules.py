"""What each operation of a traced forward says about the dimensions of its inputs and outputs.

One rule for each operation that knows widths; operations that work element by element need none of their own. An
operation without a rule fixes every width that reaches it, so that nothing is assumed.
"""

import torch

from lab.morph.dims import fix
from lab.morph.layers import LAYERS
from lab.morph.traced_op import TracedOp, Values, make, pointwise, tensors
from lab.morph.views import VIEWS

aten = torch.ops.aten
RULES = {**LAYERS, **VIEWS}
# Element by element too, although torch's own table does not say so.
UNTAGGED = frozenset(
    {
        aten.hardswish.default,
        aten.hardswish_.default,
        aten.hardsigmoid_.default,
        aten.hardtanh.default,
        aten.hardtanh_.default,
        aten.leaky_relu_.default,
        aten.elu_.default,
        aten.mish_.default,
        aten.silu_.default,
        aten.threshold_.default,
        aten.copy_.default,
        aten._prelu_kernel.default,
        aten.log_sigmoid_forward.default,
    }
)


def apply_rule(op: TracedOp) -> Values:
    """The outputs of `call`, after everything that it implies has been worked out."""
    rule = RULES.get(op.target)
    if rule is not None:
        return rule(op)
    make(op, op.args)
    if op.target in UNTAGGED or torch.Tag.pointwise in getattr(op.target, "tags", ()):
        made, others = pointwise(op), op.plain_outputs()
        return (made, *others[1:]) if isinstance(others, tuple) else made
    for value in tensors((op.args, op.kwargs)):
        for dim in value.dims:
            fix(dim, f"{op.name} is not understood")
    return op.plain_outputs()
