"""`EvolveConfig`: how the evolution agent works on a network in training."""

from dataclasses import dataclass

from lab.base import require_choice, require_range

POLICIES = ("agent", "random", "schedule", "none")
KEEP = ("gain", "harmless")


@dataclass(frozen=True, kw_only=True)
class EvolveConfig:
    """The network that the agent changes, when it acts, and its limits."""

    model: str = "small_cnn"
    """The network: small_cnn (whose first layer has init-channels units), a classification model of torchvision
    such as resnet18, or MODULE:FACTORY."""
    policy: str = "agent"
    """How actions are chosen: agent (a learnt policy), or a baseline: random (any possible action), schedule (a wider
    layer at each round, without a trial), none (the network is not changed)."""
    evolve_every: int = 4
    """Epochs between rounds of actions, >= 1."""
    evolve_from: int = 1
    """Epochs before the first round, >= 0."""
    evolve_actions: int = 2
    """Actions in a round, >= 1."""
    probe_steps: int = 12
    """Training steps that changed copies and control copies take before they are compared, >= 0."""
    keep: str = "gain"
    """What a trial must show of a change that is kept: gain (better, or not worse and cheaper), or harmless (not worse
    for sure)."""
    trial_share: float = 0.1
    """Share of the planned compute that all trials may cost, readings included, >= 0."""
    trial_patience: int = 6
    """Trials in a row that kept nothing after which none is made any more, >= 1."""
    least_effect: float = 0.05
    """Smallest difference worth a trial, as a share of the held-out loss, > 0: where the held-out samples are too few
    to show it, no trial is made."""
    least_reward: float = 0.0
    """Smallest reward at which a change is kept."""
    reject_z: float = 1.64
    """A change is not kept when the mean loss difference on the selection split exceeds this many standard errors (a
    z-score), >= 0; the error holds the noise between batch orders."""
    max_parameters: int | None = None
    """Largest number of parameters, >= 1; None for no limit."""
    max_flops: int | None = None
    """Largest number of floating-point operations of a forward pass on one image, >= 1; None for no limit."""
    max_latency: float | None = None
    """Largest number of seconds of a forward pass on four images, > 0; None for no limit. Such a run is not
    reproducible bit for bit."""
    compute: float | None = None
    """Budget of floating-point operations, trials included, at which the run ends, > 0; None for no limit. With
    weight_schedule phase the learning rate follows this budget."""
    fit_compute: bool = True
    """Whether policy agent makes a network narrower before its first step where `compute` pays for fewer than 20 epochs
    of it, the plan's rule. A network of MODULE:FACTORY stays as it is: its weights may be learnt."""
    agent_from: str = ""
    """Start with the policy and the replay buffer of another run of recipe agent: its folder, or a checkpoint file."""

    def __post_init__(self) -> None:
        require_choice("policy", self.policy, POLICIES)
        require_range("evolve_every", self.evolve_every, 1)
        require_range("evolve_from", self.evolve_from, 0)
        require_range("evolve_actions", self.evolve_actions, 1)
        require_range("probe_steps", self.probe_steps, 0)
        require_range("reject_z", self.reject_z, 0)
        require_choice("keep", self.keep, KEEP)
        require_range("trial_share", self.trial_share, 0)
        require_range("trial_patience", self.trial_patience, 1)
        require_range("least_effect", self.least_effect, 0, open_low=True)
        for name in ("max_parameters", "max_flops"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 1)
        for name in ("max_latency", "compute"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 0, open_low=True)

    @property
    def fits(self) -> bool:
        """Whether the network may be made narrower before its first step."""
        return self.fit_compute and self.policy == "agent" and ":" not in self.model
