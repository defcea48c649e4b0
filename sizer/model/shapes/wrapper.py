"""Models with eyes and ears: a text model of another family, towers beside it, and what connects them.

A `Wrapper` states where a class keeps its towers, what connects them to the text model, and how it ties the head. The
text part is described by its own family, the towers by `sizer.model.blocks.towers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sizer.errors import UnsupportedArchitecture
from sizer.frozen import dataclass
from sizer.model.architecture import Module, Role, Tensor, Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.towers import TOWERS
from sizer.model.blocks.towers.images import TowerMaker
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe

LM_HEAD = "lm_head"
VISUAL = (("visual", "vision_config"),)
VISION_MODEL = (("vision_model", "vision_config"),)
AUDIO = (("audio_tower", "audio_config"),)
BOTH_TOWERS = (("vision_tower", "vision_config"), *AUDIO)
HEARING = ("audio_config", "encoder_config")


@dataclass(frozen=True)
class Pieces:
    """What a connector sees: the whole config, its sub-configs by field (absent ones None) and the text size."""

    config: Config
    subs: Mapping[str, Config | None]
    text_size: int

    @property
    def vision(self) -> Config:
        """The vision tower's config."""
        return self.sub("vision_config")

    @property
    def audio(self) -> Config:
        """The audio tower's config."""
        return self.sub("audio_config")

    def sub(self, name: str) -> Config:
        """A sub-config that the class cannot do without."""
        return self.subs.get(name) or self.config.sub(name)


Connector = Callable[[Pieces, Tree], None]


def nothing(_pieces: Pieces, _tree: Tree) -> None:
    """No connector: the tower puts out what the text model takes."""


def tower_of(field: str, config: Config) -> TowerMaker:
    """The function that describes a tower, by the model_type of its config."""
    from importlib import import_module

    model_type = config.class_defaults.model_type
    if model_type in TOWERS:
        module, _, name = TOWERS[model_type].partition(".")
        maker: TowerMaker = getattr(import_module(f"sizer.model.blocks.towers.{module}"), name)
        return maker
    raise UnsupportedArchitecture(
        f"no tower describes {field} of model_type {model_type!r:.80}.",
        "Give the .safetensors or .gguf file itself, whose header lists every tensor.",
    )


@dataclass(frozen=True)
class Wrapper:
    """A multimodal class: `towers` maps module names under `prefix` to config fields, `connect` joins them to the text.

    A tower without a name is no module of its own: the connector embeds its input.

    `ties` says when the head is the embedding: `top` as the whole config says, `text` as the text config says,
    `either` if one of them says so, `never`. `text` is the field of the text config (empty: the whole config),
    `text_as` the family that describes it where its own model_type is no family, `merged` puts the class's own text
    sizes under a partial text config. `text_only` names the class that builds the text part alone from the same
    config. `inner_head` keeps the head within the text model, `own_head` takes its sizes from the whole config.
    `flat` reads the text fields from the top level where there is no text_config.
    """

    connect: Connector = nothing
    towers: tuple[tuple[str, str], ...] = (("vision_tower", "vision_config"),)
    ties: str = "top"
    text: str = "text_config"
    text_as: str | Callable[[Config], Parts] | None = None
    text_name: str = "language_model"
    text_only: str | None = None
    prefix: str = "model."
    inner_head: bool = False
    own_head: bool = False
    merged: bool = False
    flat: bool = False

    def __call__(self, config: Config) -> Parts:
        text = self._text(config)
        if callable(self.text_as):
            parts = self.text_as(text)
        else:
            parts = describe(text, self.text_as or text.class_defaults.model_type)
        if self.text_only is not None and _named(config) in (self.text_only, None):
            return replace(parts, notes=(*parts.notes, "The text part alone, as the class named builds it."))
        subs = {field: optional_sub(config, field) for _, field in self.towers}
        tree = Tree(self.prefix, tower=Tower.PROJECTOR)
        for name, field in self.towers:
            sub = subs[field]
            if sub is not None and name:
                tower = Tower.AUDIO if field in HEARING else Tower.VISION
                tower_of(field, sub)(sub, tree.at(name, tower=tower))
        self.connect(Pieces(config, subs, parts.hidden_size), tree)
        if self.text and not self.flat and not (config.fields.get(self.text) or config.fields.get("text_config")):
            parts = parts.with_notes(f"The file has no {self.text}: the sizes are the class's own defaults.")
        return self._joined(config, text, parts, tuple(tree.tensors))

    def _text(self, config: Config) -> Config:
        if not self.text:
            return config
        if self.flat and config.fields.get(self.text) is None:
            return Config(config.fields, config.sub(self.text).class_defaults, config.path)
        text = config.sub(self.text)
        if self.merged:
            own = config.class_defaults.sub_configs.get(self.text, {}).get("init", {})
            return Config({**own, **text.fields}, text.class_defaults, text.path)
        return text

    def _joined(self, config: Config, text: Config, parts: Parts, towers: tuple[Tensor, ...]) -> Parts:
        """The text part renamed, its head tied as the wrapper says, with the towers."""
        tied = self.ties != "never" and config.flag("tie_embedding", "tie_word_embeddings")
        if self.ties in ("either", "text"):
            tied = text.flag("tie_word_embeddings") or (tied and self.ties == "either")
        scope = f"{self.prefix}{self.text_name}." if self.text_name else self.prefix
        head = scope + LM_HEAD if self.inner_head else LM_HEAD
        body = tuple(
            _moved(tensor, scope, keep_base=self.inner_head)
            for tensor in parts.tensors
            if tensor.role is not Role.LM_HEAD
        )
        if not tied:
            sizes = (config.size("vocab_size"), config.size("hidden_size")) if self.own_head else None
            shape = sizes or (parts.vocab_size, parts.hidden_size)
            body += (Tensor(f"{head}.weight", shape, Role.LM_HEAD, Module.LINEAR),)
        return replace(parts, tensors=body + towers, tied=tied)


def _moved(tensor: Tensor, scope: str, *, keep_base: bool) -> Tensor:
    """A text tensor in its place within the whole: `model.layers…` becomes `<scope>layers…`."""
    if tensor.checkpoint_only and tensor.name.startswith("mtp."):
        return tensor
    name = tensor.name if keep_base else tensor.name.partition(".")[2]
    return replace(tensor, name=scope + name)


def _named(config: Config) -> str | None:
    named = config.fields.get("architectures")
    return named[0] if isinstance(named, (list, tuple)) and named else None


def optional_sub(config: Config, field: str) -> Config | None:
    """A sub-config, or None where the class can do without it and the file does."""
    if config.fields.get(field) is None and config.class_defaults.sub_configs.get(field, {}).get("optional"):
        return None
    return config.sub(field)


def feature_layers(config: Config) -> int:
    """How many of the tower's layers the connector reads at once."""
    value = config.get("vision_feature_layer")
    return len(value) if isinstance(value, (list, tuple)) else 1
