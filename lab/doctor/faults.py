"""The kinds of backward fault, what each means and how each is repaired; and which kind an observation is.

The kind follows from what was seen (the operation, its line, who holds the tensor), not from torch's message.
"""

from lab.device.inventory import PARAMETER, PASSING_BUFFER, PERSISTENT_BUFFER
from lab.doctor.checkpointed import READ_AGAIN
from lab.doctor.records import Observation, Write

OPTIMIZER_STEP = "optimizer step"
PARAMETER_UPDATE = "parameter update"
BUFFER_UPDATE = "buffer update"
ACTIVATION = "in-place activation"
OUT = "out= write"
INDEX = "index write"
VIEW = "view write"
ARITHMETIC = "in-place arithmetic"
UNSEEN = "write outside torch"
UNCOUNTED = "write through .data"
REBOUND = "assignment to .data"
FUSED = "fused optimizer step"
CARRIED = "carried state"
SHARED = "two backwards through one graph"
REPEATED = "same loss twice"
LEAF = "in-place on a leaf"
EARLIER = "graph from before the run"
META = "meta parameter"

_AGAIN = "run the forward again after the write"
_COPY = "write to a copy (`y = x.clone()` before the write, or the operation without `_`)"

FIXES = {
    OPTIMIZER_STEP: f"take the step after the last backward that needs these weights, or {_AGAIN}",
    PARAMETER_UPDATE: f"update the weights after backward, or {_AGAIN}",
    BUFFER_UPDATE: "read a copy in the forward (`buffer.clone()`), or give the module a new detached value: "
    "`self.buffer = new.detach()`",
    ACTIVATION: "use the activation without inplace=True",
    OUT: "let the operation make a new tensor, without out=",
    INDEX: "write to a copy and go on with the copy (`y = x.clone(); y[i] = v`), or build it with torch.where or "
    "torch.stack",
    VIEW: f"the view shares memory with what backward needs: {_COPY}",
    ARITHMETIC: _COPY,
    UNSEEN: "give numpy (or whoever writes) a copy: `tensor.detach().clone().numpy()`",
    UNCOUNTED: "write under torch.no_grad() without .data, so that torch sees it, and do it after backward",
    REBOUND: "assign a new tensor to the attribute, or copy under torch.no_grad(), after backward",
    FUSED: "fused steps are not counted by torch: take the step after the last backward, or run the forward again",
    CARRIED: "carry a detached value (`state = state.detach()`); a value that is computed from parameters must be "
    "computed inside the loop",
    SHARED: "add the losses and call backward once; retain_graph=True is right only if no weight changes in between",
    REPEATED: "call backward once for each forward",
    LEAF: "write under torch.no_grad(), or make a new tensor (`y = x + ...`) and go on with it",
    EARLIER: "build the graph inside the function that is explained",
    META: "fill it before training, with lab.device.materialize; values computed so far from it are garbage",
}

_ACTIVATIONS = frozenset(
    [
        "relu_",
        "relu6_",
        "leaky_relu_",
        "elu_",
        "celu_",
        "selu_",
        "rrelu_",
        "rrelu_with_noise_",
        "hardtanh_",
        "hardswish_",
        "hardsigmoid_",
        "threshold_",
        "silu_",
        "mish_",
        "gelu_",
        "sigmoid_",
        "tanh_",
        "prelu_",
        "dropout_",
        "feature_dropout_",
        "alpha_dropout_",
    ]
)
_INDEX_WRITES = frozenset(
    [
        "index_put_",
        "_index_put_impl_",
        "index_copy_",
        "index_fill_",
        "index_add_",
        "index_reduce_",
        "scatter_",
        "scatter_add_",
        "scatter_reduce_",
        "masked_fill_",
        "masked_scatter_",
        "fill_diagonal_",
        "put_",
    ]
)
_BUFFERS = (PERSISTENT_BUFFER, PASSING_BUFFER)


def culprits_of(observation: Observation) -> tuple[Write, ...]:
    """The writes that made the fault, first to last; empty where none was seen."""
    saved, writes = observation.saved, observation.writes
    if saved is None:
        return writes
    if observation.kind == "silent":
        rebinding = tuple(write for write in writes if write.rebinds)
        if rebinding:
            return rebinding
        layout = saved.layout
        return tuple(write for write in writes if layout is None or layout.overlaps(write.start, write.stop))
    counted = tuple(write for write in writes if write.version >= saved.version and not write.rebinds)
    return counted or writes


def category_of(observation: Observation, culprit: Write | None) -> str:
    """The kind of fault."""
    if observation.kind == "second":
        return _second(observation)
    if culprit is None:
        return UNSEEN
    read_again = observation.saved is not None and observation.saved.attribute == READ_AGAIN
    if observation.kind == "silent" and not read_again:
        if culprit.rebinds:
            return REBOUND
        return FUSED if _name(culprit).startswith("_fused_") else UNCOUNTED
    return _written(observation, culprit)


def _second(observation: Observation) -> str:
    if observation.carrier is not None:
        return CARRIED
    same = observation.root is not None and observation.root is observation.record.released_root
    return REPEATED if same else SHARED


def _written(observation: Observation, culprit: Write) -> str:
    site, operation = culprit.moment.site, culprit.moment.operation
    if site is not None and site.optimizer:
        return OPTIMIZER_STEP
    if observation.holder.kind == PARAMETER:
        return PARAMETER_UPDATE
    if observation.holder.kind in _BUFFERS:
        return BUFFER_UPDATE
    if _name(culprit) in _ACTIVATIONS:
        return ACTIVATION
    if operation.endswith("out"):
        return OUT
    if _name(culprit) in _INDEX_WRITES or (site is not None and site.stores_item):
        return INDEX
    return VIEW if culprit.partial else ARITHMETIC


def _name(write: Write) -> str:
    """`add_` of `aten.add_.Tensor`."""
    return write.moment.operation.split(".")[1] if "." in write.moment.operation else write.moment.operation
