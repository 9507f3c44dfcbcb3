"""`EvolveConfig`: how the evolution agent works on a network in training."""

from dataclasses import dataclass

from lab.base import require_choice, require_range

POLICIES = ("agent", "random", "schedule", "none")


@dataclass(frozen=True, kw_only=True)
class EvolveConfig:
    """What the agent evolves, when it acts, and what it may spend."""

    model: str = "seed_cnn"
    """For recipe agent: seed_cnn (whose first layer has init-channels units), a classification model of torchvision
    such as resnet18, or MODULE:FACTORY."""
    policy: str = "agent"
    """Who chooses: agent (it learns), random (any possible action), schedule (wider at each round, without a trial) or
    none (the network stays as it is). All but agent are baselines."""
    evolve_every: int = 4
    """Epochs between rounds of actions, >= 1."""
    evolve_from: int = 1
    """Epochs before the first round, >= 0."""
    evolve_actions: int = 2
    """Actions in a round, >= 1."""
    probe_steps: int = 12
    """Training steps that a changed network and its control copy take before they are compared, >= 0."""
    least_reward: float = 0.0
    """Reward below which a change is taken back."""
    reject_z: float = 1.64
    """A change is taken back when the mean paired loss difference on the selection split is above this many standard
    errors, >= 0; 1.64 is one-sided 95 %."""
    max_parameters: int | None = None
    """Parameters that the network may have, >= 1; None for no limit."""
    max_flops: int | None = None
    """Floating-point operations of a forward of one image, >= 1; None for no limit."""
    max_latency: float | None = None
    """Seconds of a forward of four images, > 0; None for no limit. With it a run cannot be repeated bit for bit."""
    compute: float | None = None
    """Floating-point operations at which the run ends, trials included, > 0; None for no limit. Where it is given and
    the weight schedule is phase, the learning rate follows it."""
    agent_from: str = ""
    """Begin with the policy and the replay of another run of recipe agent: its folder, or a checkpoint file."""

    def __post_init__(self) -> None:
        require_choice("policy", self.policy, POLICIES)
        require_range("evolve_every", self.evolve_every, 1)
        require_range("evolve_from", self.evolve_from, 0)
        require_range("evolve_actions", self.evolve_actions, 1)
        require_range("probe_steps", self.probe_steps, 0)
        require_range("reject_z", self.reject_z, 0)
        for name in ("max_parameters", "max_flops"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 1)
        for name in ("max_latency", "compute"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 0, open_low=True)
