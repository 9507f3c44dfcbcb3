"""Pretrained encoders from a folder: loaded by one guarded loader, and proven to be what their file says.

A load counts only if every tensor of the file is in the model with the file's own bits, nothing is on meta, the names
that the architecture ties are one tensor, and `lab.doctor.audit` finds nothing. Weights are read from safetensors
alone, and no code of the folder is run.

Not covered: encoder-decoder models, quantised weights, tensors that the loader merges or splits.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from lab.base import ConfigError, MaterializeError, Report, ReportTable, require_choice, require_extra
from lab.device import inventory, load_guard, materialize
from lab.doctor import audit
from lab.state import state_digest

PURPOSE = "recipe text"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEADS: Mapping[str, str] = MappingProxyType(
    {"encoder": "AutoModel", "causal": "AutoModelForCausalLM", "masked": "AutoModelForMaskedLM"}
)
"""What is loaded -> the class of transformers that loads it."""
HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files that are downloaded of a model: none of them holds code."""
UNUSED = "pooler."
"""Tensors of a layer behind the encoder that the lab's models do not run."""


@dataclass(frozen=True, kw_only=True)
class LoadReport(Report):
    """What was loaded, with the proof of each tensor."""

    folder: str
    files: tuple[str, ...]
    """The safetensors files, by name."""
    hashes: dict[str, str]
    """Name in the model -> SHA-256 of the tensor, equal to that of the file's."""
    tied: tuple[tuple[str, ...], ...]
    """Groups of names that are one tensor."""
    left_out: tuple[str, ...]
    """Tensors of the files that this model has no place for, such as another head's."""
    filled: tuple[str, ...]
    """Names that the loader had left on meta, and that were filled from the file."""
    digest: str = field(init=False)
    """SHA-256 over all hashes: equal exactly where the weights are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", state_digest(self.hashes))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        names = ("folder", "files", "hashes", "tied", "left_out", "filled", "digest")
        return {name: getattr(self, name) for name in names}

    def tables(self) -> tuple[ReportTable, ...]:
        """Every tensor with its hash."""
        rows = tuple((name, value[:16]) for name, value in self.hashes.items())
        notes = [f"tied: {' = '.join(group)}" for group in self.tied]
        notes += [f"left out: {', '.join(self.left_out)}"] if self.left_out else []
        title = f"{self.folder}: {len(rows)} tensors, each with the hash of the file's"
        return (ReportTable(title=title, columns=("tensor", "SHA-256"), rows=rows, notes=tuple(notes)),)


def load_pretrained(folder: str | Path, head: str = "encoder") -> tuple[nn.Module, LoadReport]:
    """The model in `folder`, in float32 on the CPU and in eval mode, and the proof of every tensor.

    Args:
        folder: config.json, and model.safetensors whole or in parts.
        head: encoder, causal (a language model that reads to the left) or masked.

    Raises:
        ConfigError: transformers is not installed, or the folder has no config that it knows.
        MaterializeError: no weights, a damaged file, or a tensor that is not the file's.
    """
    require_extra("text", PURPOSE)
    require_choice("head", head, HEADS.keys())
    place = Path(folder).expanduser()
    files = weight_files(place)
    state = read_weights(files)
    import transformers

    kind = getattr(transformers, HEADS[head])
    with load_guard(), _quiet(transformers):
        try:
            # dtype auto: the file's own, so that bits can be compared.
            model: nn.Module = kind.from_pretrained(
                str(place), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            got = f"{place}: {' '.join(str(error).split())[:200]}"
            raise ConfigError(
                f"a folder with a model that transformers loads as {head}", got, "give another"
            ) from error
    report = prove(model, state, place, files)
    # Only now: what was compared are the bits of the file's own dtype.
    model.float().eval()
    found = audit(model, device="cpu", ties=report.tied)
    if not found.ok:
        raise MaterializeError("a model that the audit passes", str(found.findings[0]), "load it again in load_guard")
    return model, report


def prove(model: nn.Module, state: Mapping[str, Tensor], folder: Path, files: tuple[Path, ...]) -> LoadReport:
    """The proof that `model` holds the tensors of `state`, bit for bit; meta tensors are filled from it first.

    Raises:
        MaterializeError: a tensor that is not the file's, that the file does not have, or that has no data.
    """
    own = {held.name: held.tensor for held in inventory(model)}
    named, left_out = _matched(model, state, own)
    if not named:
        got = f"none of the {len(state)} tensors, the first is {next(iter(state), 'none')!r}"
        raise MaterializeError(f"weights of {type(model).__name__} in {folder}", got, "give the folder of this model")
    filled = tuple(name for name, tensor in own.items() if tensor.is_meta)
    if filled:
        materialize(model, "cpu", state=named)
        own = {held.name: held.tensor for held in inventory(model)}
    _require_ties(model)
    groups = _tied(model)
    proven = set(named) | {name for group in groups for name in group if set(group) & set(named)}
    missing = [name for name, _ in model.named_parameters(remove_duplicate=False) if name not in proven]
    missing = [name for name in missing if not name.startswith(UNUSED)]
    if missing:
        got = f"{len(missing)} parameters without one: {', '.join(missing[:5])}"
        raise MaterializeError(f"a tensor for every parameter in {folder}", got, "give a folder with the whole model")
    hashes, wrong = {}, []
    for name, value in named.items():
        hashes[name] = state_digest(own[name])
        if hashes[name] != state_digest(value):
            wrong.append(name)
    if wrong:
        got = f"{len(wrong)} that differ: {', '.join(wrong[:5])}"
        raise MaterializeError(f"the very tensors of {folder} in the model", got, "load it again inside load_guard")
    return LoadReport(
        folder=str(folder),
        files=tuple(file.name for file in files),
        hashes=hashes,
        tied=groups,
        left_out=left_out,
        filled=filled,
    )


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of the model in `folder`.

    Raises:
        MaterializeError: there is no such folder, or none in it.
    """
    if not folder.is_dir():
        hint = "give the folder of an encoder, or --hub to download it by its name"
        raise MaterializeError("a folder with an encoder", str(folder), hint)
    if (folder / INDEX).is_file():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            files = tuple(folder / Path(name).name for name in sorted(set(names)))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            got = f"{folder / INDEX}: {error}"
            raise MaterializeError("an index of weights", got, "copy the folder again") from error
    else:
        files = (folder / WEIGHTS,)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        others = sorted(file.name for file in folder.glob("*.bin"))
        got = f"no {', '.join(missing)} in {folder}" + (f", only {', '.join(others)}" if others else "")
        hint = "save the model as safetensors: other formats can run code" if others else "copy the whole folder"
        raise MaterializeError("weights as safetensors", got, hint)
    return files


def read_weights(files: tuple[Path, ...]) -> dict[str, Tensor]:
    """All tensors of the files by name.

    Raises:
        MaterializeError: a file is cut short or is none of safetensors.
    """
    from safetensors import SafetensorError, safe_open

    state: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as opened:
                state |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            got = f"{file} of {file.stat().st_size:,} bytes: {error}"
            raise MaterializeError("a whole safetensors file", got, "copy or download that file again") from error
    return state


def download(name: str) -> Path:
    """The folder of the hub's model `name`, downloaded where it is not in the cache; files without code alone.

    Raises:
        ConfigError: there is no such model, or no network.
    """
    require_extra("text", PURPOSE)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        got = f"{name}: {' '.join(str(error).split())[:200]}"
        raise ConfigError("an encoder on the hub", got, "check name and network, or give a folder") from error


def _matched(
    model: nn.Module, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Name in the model -> the file's tensor, and the names that the model has no place for."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    named, left_out = {}, []
    for key, value in state.items():
        # The file of a model with a head names its encoder's tensors behind a prefix, and the other way round.
        plain = key.replace(".gamma", ".weight").replace(".beta", ".bias")
        names = (key, plain, plain.removeprefix(prefix), f"{prefix}{plain}")
        name = next((each for each in names if each in own), None)
        if name is None:
            left_out.append(key)
        else:
            named[name] = value
    return named, tuple(left_out)


def _tied(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Groups of names that are one parameter."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _require_ties(model: nn.Module) -> None:
    """Raise unless the names that the architecture declares as one tensor are one."""
    declared = getattr(model, "all_tied_weights_keys", None) or {}
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for target, source in declared.items():
        if tensors.get(target) is not tensors.get(source):
            raise MaterializeError(f"{target} tied to {source}", "two tensors", "load it again inside load_guard")


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bar and no table of missing tensors while a model is loaded: `prove` says what is missing."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
