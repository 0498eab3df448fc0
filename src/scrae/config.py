"""Settings: frozen, checked on construction, the one source for API, command line, model folder and report."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .errors import ScraeError, check_fields, did_you_mean, show

__all__ = [
    "ClusterConfig",
    "ModelConfig",
    "PreprocessConfig",
    "Settings",
    "TrainConfig",
    "from_dict",
    "preset",
    "to_dict",
]

Likelihood = Literal["zinb", "nb"]
Library = Literal["inferred", "observed"]
Prior = Literal["learned", "normal", "none"]
Divergence = Literal["wasserstein", "jensen-shannon", "kullback-leibler"]
PriorUpdate = Literal["joint", "separate"]
Schedule = Literal["constant", "cosine"]
GeneSelection = Literal[
    "seurat_v3",
    "seurat",
    "cell_ranger",
    "pearson_residuals",
    "deviance",
    "m3drop",
    "nbumi",
    "nbumi_high_variance",
    "scmarker",
]
ClusterMethod = Literal["smoothed", "leiden", "kmeans", "gmm"]
C = TypeVar("C")

_STEPS, _FEWEST_EPOCHS = 1000, 5
_WIDEST, _DEEPEST = 2**16, 32
"""Bounds of a layer's size and of the number of layers, so that a foreign model folder cannot ask for any amount."""
_LARGEST_SEED = 2**32 - 1
"""The largest that NumPy, scikit-learn and torch all take."""


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Filters and gene selection (paper, section 4.2).

    Attributes
    ----------
    min_cells : a gene is kept when it is seen in at least this many cells.
    min_genes : a cell is kept when it expresses at least this many genes.
    min_counts : a cell is kept when its total is at least this; None = no such filter.
    max_mito : a cell is kept when its mitochondrial share (0 to 1) is at most this; None = no such filter.
    gene_selection : how the modelled genes are ranked.
    n_top_genes : how many of them are modelled.
    """

    min_cells: int = 10
    min_genes: int = 1
    min_counts: int | None = None
    max_mito: float | None = None
    gene_selection: GeneSelection = "seurat_v3"
    n_top_genes: int = 2000

    def __post_init__(self) -> None:
        check_fields(self)
        _at_least(self, min_cells=0, min_genes=0, min_counts=0, n_top_genes=2)
        _between(self, max_mito=(0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The four networks and what they model (paper, section 3).

    Attributes
    ----------
    n_latent : dimensions of the latent code z.
    encoder_layers, decoder_layers, generator_layers, critic_layers : hidden sizes, first to last.
    n_noise : dimensions of the noise that the latent generator reads; None = ``n_latent``.
    leak : negative slope of the leaky ReLU.
    dropout : share of hidden units of encoder and decoder left out in training.
    likelihood : zero-inflated negative binomial, or negative binomial.
    library : ``inferred``: the log library size is drawn from two outputs of the encoder, with its KL term
        (paper, eq. 8 and 11); ``observed``: it is the log of the cell's total over the modelled genes.
    prior : ``learned``: the latent generator is trained; ``normal``: it is the identity, the prior N(0, I)
        (an adversarial autoencoder); ``none``: a plain autoencoder.
    divergence : what the critic measures between codes and prior.
    """

    n_latent: int = 10
    encoder_layers: tuple[int, ...] = (256,)
    decoder_layers: tuple[int, ...] = (256,)
    generator_layers: tuple[int, ...] = (32, 32)
    critic_layers: tuple[int, ...] = (64, 64)
    n_noise: int | None = None
    leak: float = 0.2
    dropout: float = 0.0
    likelihood: Likelihood = "zinb"
    library: Library = "observed"
    prior: Prior = "learned"
    divergence: Divergence = "wasserstein"

    def __post_init__(self) -> None:
        check_fields(self)
        _between(self, n_latent=(1, _WIDEST), n_noise=(1, _WIDEST), leak=(0.0, 1.0), dropout=(0.0, 0.95))
        for name in ("encoder_layers", "decoder_layers", "generator_layers", "critic_layers"):
            sizes = getattr(self, name)
            if len(sizes) > _DEEPEST or not all(1 <= size <= _WIDEST for size in sizes):
                raise ScraeError(
                    f"ModelConfig.{name}: expected at most {_DEEPEST} sizes of 1 to {_WIDEST}, found {show(sizes)}"
                )
        if self.prior == "normal" and self.n_noise not in (None, self.n_latent):
            raise ScraeError(
                f"ModelConfig.n_noise: with prior='normal' the noise is the code, so n_noise must be None or "
                f"{self.n_latent}, found {self.n_noise}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimisation (paper, section 3.3).

    Attributes
    ----------
    batch_size : cells a step.
    max_epochs : upper bound of passes over the training cells; None = as many as make 1,000 steps, but at
        least 5 (see :meth:`epochs_for`).
    learning_rate : Adam's, for encoder and decoder.
    adversarial_learning_rate : Adam's with betas (0, 0.9), for critic and latent generator.
    schedule : learning rates stay constant, or fall along a cosine to a hundredth over all epochs.
    weight_decay : decoupled (AdamW), for encoder and decoder.
    prior_weight : λ of eq. 3. ``joint``: factor of the encoder's adversarial loss beside the reconstruction.
        ``separate``: factor of the learning rate of the encoder's own adversarial optimiser.
    prior_weight_batched : λ in place of ``prior_weight`` where the model has batches: the critic then compares
        the codes of each batch with the prior, and a larger weight removes more of the batch effect.
    prior_update : one optimiser and one encoder pass (``joint``), or the encoder's adversarial loss with an
        optimiser and an encoder pass of its own (``separate``, as the paper's algorithm reads).
    n_critic : critic updates per update of generator and encoder.
    gradient_penalty_weight : β of eq. 12.
    library_kl_weight : weight of the library term of eq. 11.
    thinning : in training the encoder reads a random half of each cell's molecules, and the decoder answers for
        all of them.
    validation_fraction : share of the cells held out for early stopping; 0 = none.
    patience : epochs without a better held-out likelihood before training stops and the best weights come back;
        None = no early stopping.
    seed : of initialisation, split, batches and noise.
    """

    batch_size: int = 128
    max_epochs: int | None = None
    learning_rate: float = 2e-3
    adversarial_learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    prior_weight: float = 1.0
    prior_weight_batched: float = 10.0
    prior_update: PriorUpdate = "joint"
    n_critic: int = 5
    gradient_penalty_weight: float = 10.0
    library_kl_weight: float = 0.05
    thinning: bool = True
    validation_fraction: float = 0.1
    patience: int | None = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        _at_least(self, batch_size=1, max_epochs=1, n_critic=1, patience=1)
        _at_least(
            self,
            weight_decay=0,
            prior_weight=0,
            prior_weight_batched=0,
            gradient_penalty_weight=0,
            library_kl_weight=0,
        )
        _between(
            self,
            learning_rate=(0.0, 1.0),
            adversarial_learning_rate=(0.0, 1.0),
            validation_fraction=(0.0, 0.9),
            seed=(0, _LARGEST_SEED),
        )
        if self.patience is not None and self.validation_fraction == 0:
            raise ScraeError(
                "TrainConfig.patience: early stopping needs held-out cells, found validation_fraction=0; "
                "set a fraction or patience=None"
            )

    def epochs_for(self, n_cells: int) -> int:
        """Return the most epochs that training on ``n_cells`` cells takes."""
        if self.max_epochs is not None:
            return self.max_epochs
        return max(_FEWEST_EPOCHS, math.ceil(_STEPS * self.batch_size / n_cells))


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How codes become clusters.

    Attributes
    ----------
    method : ``smoothed``: K-means on codes averaged over neighbouring cells; ``leiden`` on the graph of these
        neighbours, at the resolution that gives K; ``kmeans`` on the codes, as in the paper; or ``gmm``, a mixture of
        Gaussians on the codes.
    n_clusters : K; None = chosen without labels (see ``scrae.cluster.partition.choose_n_clusters``).
    resolution : of ``leiden``, in place of K; None = the one that gives K.
    """

    method: ClusterMethod = "smoothed"
    n_clusters: int | None = None
    resolution: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        _at_least(self, n_clusters=1)
        if self.resolution is None:
            return
        _between(self, resolution=(0.0, 64.0))
        if self.method != "leiden" or self.n_clusters is not None:
            other = f"method={self.method!r}" if self.method != "leiden" else f"n_clusters={self.n_clusters}"
            raise ScraeError(
                "ClusterConfig.resolution: expected method='leiden' without n_clusters, "
                f"found {other}; leave one out"
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a run is made of."""

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        check_fields(self)


def preset(name: str) -> Settings:
    """Named settings: ``default``, or ``paper`` (the published architecture and rates, integer counts).

    ``paper`` follows the authors' published configuration for Zeisel at ten latent dimensions: 720 genes by
    Seurat dispersion, 512-512 hidden units, batches of 16, 200 epochs, constant rates, no early stopping. Its
    library weight is 0.05 of the sum form, which is 0.1 of the usual KL with its factor ½. The encoder's
    adversarial rate is a thousandth of the autoencoder's. Where text and code differ, see ``docs/method.md``.

    Raises
    ------
    ScraeError : another name.
    """
    if name == "default":
        return Settings()
    if name == "paper":
        return Settings(
            preprocess=PreprocessConfig(gene_selection="seurat", n_top_genes=720),
            model=ModelConfig(encoder_layers=(512, 512), decoder_layers=(512, 512), library="inferred"),
            train=TrainConfig(
                batch_size=16,
                max_epochs=200,
                learning_rate=1e-3,
                schedule="constant",
                thinning=False,
                adversarial_learning_rate=9e-5,
                prior_update="separate",
                prior_weight=1e-3,
                prior_weight_batched=1e-2,
                library_kl_weight=0.1,
                validation_fraction=0.0,
                patience=None,
            ),
            cluster=ClusterConfig(method="kmeans"),
        )
    near = did_you_mean(name, ("default", "paper"))
    raise ScraeError(f"preset: expected 'default' or 'paper', found {name!r}{near}")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as a plain dict that JSON can hold (tuples become lists)."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def from_dict(cls: type[C], values: dict[str, Any]) -> C:
    """Return the config of class ``cls`` that ``to_dict`` wrote as ``values``.

    Raises
    ------
    ScraeError : not a dict, an unknown name, a wrong type or a value out of range.
    """
    if not isinstance(values, dict):
        raise ScraeError(f"{cls.__name__}: expected a mapping of settings, found {type(values).__name__}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints), key=str)
    if unknown:
        raise ScraeError(
            f"{cls.__name__}: unknown setting {show(unknown[0])}; known are {', '.join(sorted(hints))}"
        )
    arguments = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            arguments[name] = from_dict(typing.cast("type[Any]", hints[name]), value)
        else:
            arguments[name] = tuple(value) if isinstance(value, list) else value
    return cls(**arguments)


def _at_least(config: Any, **minima: float) -> None:
    """Refuse a field that is smaller than it may be; None passes."""
    for name, minimum in minima.items():
        value = getattr(config, name)
        if value is not None and value < minimum:
            raise ScraeError(
                f"{type(config).__name__}.{name}: expected at least {minimum}, found {show(value)}"
            )


def _between(config: Any, **ranges: tuple[float, float]) -> None:
    """Refuse a field outside its range, both ends allowed; None passes."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ScraeError(f"{type(config).__name__}.{name}: expected {low} to {high}, found {show(value)}")
