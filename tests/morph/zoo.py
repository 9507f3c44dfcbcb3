"""Models of timm and transformers by family, as small as their configurations allow, with random weights.

Each entry is data: the name, the options that make it small, and its two inputs. timm is no part of the install; the
tests say so by name where it is missing.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

CLASSES = 7


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """One model: how it is made, and the sizes of the two inputs that it is judged on."""

    family: str
    options: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = (64, 96)
    """Image sides, or lengths in tokens; one only where the model takes no other."""
    made_by: str = ""
    """`module:Class` of timm, where the registered model takes no sizes."""


def image(size: int, batch: int = 4) -> torch.Tensor:
    """A batch of images of one side."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(size))


ONE = (64,)
SMALL_VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 48, "depth": 3, "num_heads": 3}
FLAT = {"img_size": 64}
PARTS = ("block_layer", "mlp_layer")
"""Options that name a class of the same module."""
GATED = {"block_layer": "SpatialGatingBlock", "mlp_layer": "GatedMlp"}
TIMM = {
    "test_resnet": Foreign(family="ResNet"),
    "resnet26d": Foreign(family="ResNet", options={"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}),
    "seresnext26d_32x4d": Foreign(
        family="ResNet", options={"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64), "cardinality": 4}
    ),
    "res2net50_26w_4s": Foreign(family="ResNet", options={"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}),
    "resnest14d": Foreign(family="ResNet", options={"channels": (16, 32, 48, 64)}),
    "skresnet18": Foreign(family="ResNet", options={"channels": (16, 32, 48, 64)}),
    "test_nfnet": Foreign(family="ResNet"),
    "test_byobnet": Foreign(family="BYOB"),
    "repvgg_a0": Foreign(family="BYOB"),
    "test_efficientnet": Foreign(family="EfficientNet"),
    "test_efficientnet_gn": Foreign(family="EfficientNet"),
    "mobilenetv3_small_050": Foreign(family="EfficientNet"),
    "ghostnet_050": Foreign(family="EfficientNet"),
    "rexnet_100": Foreign(family="EfficientNet"),
    "lcnet_035": Foreign(family="EfficientNet"),
    "densenet121": Foreign(family="DenseNet", options={"block_config": (2, 2, 2), "growth_rate": 8}),
    "cspresnet50": Foreign(family="CSP"),
    "dla46_c": Foreign(family="DLA"),
    "regnetx_002": Foreign(family="RegNet"),
    "test_convnext": Foreign(family="ConvNeXt"),
    "test_convnext3": Foreign(family="ConvNeXt"),
    "inception_next_atto": Foreign(family="ConvNeXt", options={"depths": (1, 1, 2, 1), "dims": (24, 32, 48, 64)}),
    "mambaout_femto": Foreign(family="MambaOut", options={"depths": (1, 1, 2, 1), "dims": (24, 32, 48, 64)}),
    "convmixer_768_32": Foreign(family="ConvMixer", options={"depth": 3, "dim": 32}, made_by="convmixer:ConvMixer"),
    "starnet_s050": Foreign(family="StarNet"),
    "poolformer_s12": Foreign(
        family="MetaFormer", options={"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)}, made_by="metaformer:MetaFormer"
    ),
    "mixer_s32_224": Foreign(
        family="MLP-Mixer",
        options={"img_size": 64, "patch_size": 16, "num_blocks": 3, "embed_dim": 48},
        sizes=ONE,
        made_by="mlp_mixer:MlpMixer",
    ),
    "gmlp_s16_224": Foreign(
        family="MLP-Mixer",
        options={"img_size": 64, "patch_size": 16, "num_blocks": 3, "embed_dim": 48, "mlp_ratio": 6, **GATED},
        sizes=ONE,
        made_by="mlp_mixer:MlpMixer",
    ),
    "vit_tiny_patch16_224": Foreign(family="ViT", options={**SMALL_VIT, "dynamic_img_size": True}),
    "test_vit3": Foreign(family="ViT", options={**FLAT, "dynamic_img_size": True}),
    "vit_relpos_small_patch16_224": Foreign(family="ViT", options=SMALL_VIT, sizes=ONE),
    "deit_tiny_distilled_patch16_224": Foreign(family="ViT", options=SMALL_VIT, sizes=ONE),
    "cait_xxs24_224": Foreign(family="ViT", options={**FLAT, "embed_dim": 48, "depth": 2, "num_heads": 4}, sizes=ONE),
    "beit_base_patch16_224": Foreign(family="BEiT", options=SMALL_VIT, sizes=ONE),
    "eva02_tiny_patch14_224": Foreign(
        family="EVA", options={"img_size": 56, "embed_dim": 48, "depth": 3, "num_heads": 3}, sizes=(56,)
    ),
    "swin_tiny_patch4_window7_224": Foreign(
        family="Swin",
        options={**FLAT, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)},
        sizes=ONE,
    ),
    "swinv2_tiny_window8_256": Foreign(
        family="Swin",
        options={**FLAT, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)},
        sizes=ONE,
    ),
    "xcit_nano_12_p16_224": Foreign(
        family="XCiT", options={**FLAT, "embed_dim": 48, "depth": 2, "num_heads": 4}, sizes=ONE
    ),
    "convit_tiny": Foreign(
        family="ViT", options={**FLAT, "embed_dim": 48, "depth": 3, "num_heads": 4, "local_up_to_layer": 2}, sizes=ONE
    ),
    "pvt_v2_b0": Foreign(
        family="PVT", options={"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}
    ),
    "test_maxvit": Foreign(family="MaxViT", options=FLAT, sizes=ONE),
    "mobilevit_xxs": Foreign(family="MobileViT"),
    "edgenext_xx_small": Foreign(family="MobileViT"),
    "levit_128s": Foreign(family="LeViT", options=FLAT, sizes=ONE),
    "sequencer2d_s": Foreign(
        family="Sequencer",
        options={"layers": (1, 1, 1, 1), "embed_dims": (24, 32, 32, 32), "hidden_sizes": (8, 8, 8, 8)},
    ),
}


def build_timm(name: str) -> nn.Module:
    """The model as timm makes it, without chance."""
    import timm

    model = TIMM[name]
    if not model.made_by:
        return timm.create_model(name, num_classes=CLASSES, **model.options)
    module, kind = model.made_by.split(":")
    inside = importlib.import_module(f"timm.models.{module}")
    options = {key: getattr(inside, value) if key in PARTS else value for key, value in model.options.items()}
    return getattr(inside, kind)(num_classes=CLASSES, **options)


SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 50}
T5 = {"d_model": 24, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
TRANSFORMERS = {
    "GPT2LMHeadModel": Foreign(family="GPT-2", options=GPT2),
    "BertForSequenceClassification": Foreign(family="BERT", options=SIZES),
    "RobertaForMaskedLM": Foreign(family="BERT", options=SIZES),
    "ModernBertForSequenceClassification": Foreign(family="ModernBERT", options=SIZES),
    "DistilBertForSequenceClassification": Foreign(
        family="BERT", options={"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50}
    ),
    "LlamaForCausalLM": Foreign(family="Llama", options=GROUPED),
    "Qwen2ForCausalLM": Foreign(family="Llama", options=GROUPED),
    "Qwen3ForCausalLM": Foreign(family="Llama", options={**GROUPED, "head_dim": 6}),
    "GPTNeoXForCausalLM": Foreign(family="GPT-NeoX", options=SIZES),
    "MixtralForCausalLM": Foreign(
        family="experts", options={**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}
    ),
    "Qwen2MoeForCausalLM": Foreign(
        family="experts", options={**GROUPED, **EXPERTS, "shared_expert_intermediate_size": 16}
    ),
    "T5ForConditionalGeneration": Foreign(family="T5", options={**T5, "pad_token_id": 0, "decoder_start_token_id": 0}),
    "MambaForCausalLM": Foreign(
        family="Mamba",
        options={"hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 4, "time_step_rank": 4},
    ),
}
DROPOUTS = ("dropout", "pdrop", "dropout_prob", "dropout_rate")


def build_transformers(name: str) -> nn.Module:
    """The model of that class from its own configuration, without chance."""
    import transformers

    kind = getattr(transformers, name)
    config = kind.config_class(**TRANSFORMERS[name].options)
    for key in list(vars(config)):
        if any(key.endswith(word) for word in DROPOUTS) and isinstance(getattr(config, key), float):
            setattr(config, key, 0.0)
    return kind(config)


def words(length: int, name: str = "") -> dict[str, Any]:
    """A batch of tokens of one length."""
    tokens = torch.randint(3, 50, (4, length), generator=torch.Generator().manual_seed(length))
    found: dict[str, Any] = {"input_ids": tokens}
    if name.startswith("T5"):
        found["decoder_input_ids"] = tokens[:, :5]
    if name in ("GPT2LMHeadModel", "MambaForCausalLM") or "CausalLM" in name or name.startswith("T5"):
        found["use_cache"] = False
    return found


def build(name: str) -> tuple[nn.Module, list[Any]]:
    """The model, weights random everywhere, and its inputs; the first is that of the plan."""
    torch.manual_seed(0)
    make: Callable[[str], nn.Module] = build_timm if name in TIMM else build_transformers
    model = make(name)
    # A layer that drops draws other numbers for another width.
    for module in model.modules():
        for key, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in key.lower() or (key == "p" and "Drop" in type(module).__name__)):
                setattr(module, key, 0.0)
    # A head, a scale or a gate of zeros would prove nothing.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    if name in TIMM:
        return model.eval(), [image(size) for size in TIMM[name].sizes]
    return model.eval(), [words(8, name), words(12, name)]
