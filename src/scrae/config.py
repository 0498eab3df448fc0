"""Settings: frozen, validated on construction, and the one source for Python, command line, model and record."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from .errors import ScraeError, check_fields, did_you_mean, show

__all__ = [
    "LARGEST_COUNT", "ClusterConfig", "ModelConfig", "PreprocessConfig", "Settings", "TrainConfig", "from_dict",
    "preset", "to_dict",
]  # fmt: skip

Likelihood = Literal["zinb", "nb"]
Library = Literal["inferred", "observed"]
Prior = Literal["learned", "normal", "none"]
Divergence = Literal["wasserstein", "jensen-shannon", "kullback-leibler"]
PriorUpdate = Literal["joint", "separate"]
Schedule = Literal["constant", "cosine"]
GeneSelection = Literal[
    "seurat_v3", "seurat", "cell_ranger", "pearson_residuals", "deviance", "m3drop", "nbumi", "nbumi_high_variance",
    "scmarker",
]  # fmt: skip
ClusterMethod = Literal["smoothed", "leiden", "kmeans", "gmm"]
Device = Literal["auto", "cpu", "cuda"]
Preset = Literal["default", "paper"]

# Annotated[type, low, high]: the smallest and the largest value allowed.
_Positive = Annotated[int, 1, math.inf]
_Count = Annotated[int, 0, math.inf]
_Size = Annotated[int, 1, 2**16]
_Sizes = tuple[_Size, ...]
_Weight = Annotated[float, 0, math.inf]
_Share = Annotated[float, 0, 1]
_Seed = Annotated[int, 0, 2**32 - 1]  # what NumPy, scikit-learn and torch all accept
_STEPS, _FEWEST_EPOCHS = 1000, 5
C = TypeVar("C")

LARGEST_COUNT = 2**31 - 1
"""Largest count that is read or modeled: it fits int32."""


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Filters and gene selection (paper, section 4.2).

    Attributes
    ----------
    min_cells : int
        Keep genes detected in at least this many cells.
    min_genes : int
        Keep cells with at least this many detected genes.
    min_counts : int or None
        Keep cells with at least this many counts; None = no such filter.
    max_mito : float or None
        Keep cells with at most this mitochondrial fraction (0 to 1); None = no such filter.
    mito_prefix : str or None
        What the names of mitochondrial genes begin with; None = the usual names of common species.
    qc : str or None
        mad: drop outliers of counts, genes and mitochondrial share (median absolute deviation); None = no such filter.
    drop_doublets : bool
        Drop the cells that look like doublets.
    gene_selection : str
        Method that ranks the genes.
    n_top_genes : int
        Number of genes to select for the model.
    """

    min_cells: _Count = 10
    min_genes: _Count = 1
    min_counts: _Count | None = None
    max_mito: _Share | None = None
    mito_prefix: str | None = None
    qc: Literal["mad"] | None = None
    drop_doublets: bool = False
    gene_selection: GeneSelection = "seurat_v3"
    n_top_genes: Annotated[int, 2, math.inf] = 2000

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The four networks and what they model (paper, section 3).

    Attributes
    ----------
    n_latent : int
        Dimensions of the latent representation z.
    encoder_layers, decoder_layers, generator_layers, critic_layers : tuple of int
        Hidden layer sizes, first to last.
    n_noise : int or None
        Dimensions of the noise that the latent generator maps to the prior; None = as many as n_latent.
    leak : float
        Negative slope of the leaky ReLU.
    dropout : float
        Fraction of hidden units of encoder and decoder dropped in training.
    likelihood : str
        zinb (zero-inflated negative binomial) or nb (negative binomial).
    library : str
        inferred: drawn from two outputs of the encoder, with a KL term (paper, eq. 8 and 11); observed: the cell's own.
    prior : str
        learned: by the latent generator; normal: N(0, I), an adversarial autoencoder; none: a plain autoencoder.
    divergence : str
        Divergence between codes and prior that the critic estimates.
    """

    n_latent: _Size = 10
    encoder_layers: _Sizes = (256,)
    decoder_layers: _Sizes = (256,)
    generator_layers: _Sizes = (32, 32)
    critic_layers: _Sizes = (64, 64)
    n_noise: _Size | None = None
    leak: _Share = 0.2
    dropout: Annotated[float, 0, 0.95] = 0.0
    likelihood: Likelihood = "nb"
    library: Library = "observed"
    prior: Prior = "learned"
    divergence: Divergence = "wasserstein"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.prior == "normal" and self.n_noise not in (None, self.n_latent):
            raise ScraeError(
                f"n_noise: expected None or {self.n_latent}, since with prior='normal' the noise is the "
                f"code, found {self.n_noise}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimization (paper, section 3.3).

    Attributes
    ----------
    batch_size : int
        Cells per minibatch.
    max_epochs : int or None
        Upper limit of passes over the training cells; None = enough for 1,000 steps, at least 5.
    learning_rate : float
        Learning rate of encoder and decoder (Adam).
    adversarial_learning_rate : float
        Learning rate of critic and latent generator (Adam with betas 0 and 0.9).
    schedule : str
        constant: fixed learning rates; cosine: they decay to a hundredth over all epochs.
    weight_decay : float
        Decoupled weight decay (AdamW) of encoder and decoder.
    prior_weight : float
        λ of eq. 3: weight of the encoder's adversarial loss relative to the reconstruction (prior_update joint), or
        factor of the learning rate of the encoder's own adversarial optimizer (separate).
    prior_weight_batched : float
        λ in place of prior_weight when a batch key is given: the critic compares the codes of each batch with the
        prior, and a large weight (10) removes more of the batch effect than neighbor targets do.
    prior_update : str
        joint: one optimizer and one encoder pass; separate: the encoder's adversarial loss has an optimizer and an
        encoder pass of its own, as in the paper's algorithm.
    n_critic : int
        Critic updates per update of generator and encoder.
    gradient_penalty_weight : float
        β of eq. 12.
    library_kl_weight : float
        Weight of the library term of eq. 11.
    thinning : bool
        In training, encode a random half of each cell's molecules.
    neighbor_targets : bool
        In training, the decoder explains the counts of a random neighbor of the encoded cell instead of its own.
    validation_fraction : float
        Fraction of cells held out for early stopping; 0 = none.
    patience : int or None
        Epochs without a better held-out likelihood before training stops and restores the best weights;
        None = no early stopping.
    """

    batch_size: _Positive = 128
    max_epochs: _Positive | None = None
    learning_rate: _Share = 2e-3
    adversarial_learning_rate: _Share = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: _Weight = 0.0
    prior_weight: _Weight = 1.0
    prior_weight_batched: _Weight = 1.0
    prior_update: PriorUpdate = "joint"
    n_critic: _Positive = 5
    gradient_penalty_weight: _Weight = 10.0
    library_kl_weight: _Weight = 0.05
    thinning: bool = True
    neighbor_targets: bool = True
    validation_fraction: Annotated[float, 0, 0.9] = 0.1
    patience: _Positive | None = 10

    def __post_init__(self) -> None:
        check_fields(self)
        if self.patience is not None and self.validation_fraction == 0:
            raise ScraeError(
                "patience: early stopping needs held-out cells, found validation_fraction=0; "
                "set a fraction or patience=None"
            )

    def epochs_for(self, n_cells: int) -> int:
        """Return the maximum number of epochs for ``n_cells`` training cells."""
        if self.max_epochs is not None:
            return self.max_epochs
        return max(_FEWEST_EPOCHS, math.ceil(_STEPS * self.batch_size / n_cells))


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How the latent representation is clustered.

    Attributes
    ----------
    method : str
        smoothed: K-means on codes averaged over neighboring cells; leiden: on the graph of these neighbors; kmeans:
        on the codes, as in the paper; gmm: a Gaussian mixture on the codes.
    n_clusters : int or None
        Number of clusters K; None = chosen without labels.
    resolution : float or None
        Resolution of leiden, instead of a number of clusters; None = the one that gives K clusters.
    """

    method: ClusterMethod = "smoothed"
    n_clusters: _Positive | None = None
    resolution: Annotated[float, 0, 64] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.resolution is not None and (self.method != "leiden" or self.n_clusters is not None):
            other = f"method={self.method!r}" if self.method != "leiden" else f"n_clusters={self.n_clusters}"
            raise ScraeError(
                f"resolution: expected method='leiden' without n_clusters, found {other}; leave one out"
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that shapes the result of a run, apart from its input.

    Attributes
    ----------
    label_key : str or None
        Column of obs with labels to score the clusters against; None = no scores.
    batch_key : str or None
        Column of obs with the batch to correct for, e.g. sample, or several separated by commas; None = no correction.
    also_2d : bool
        Train a second model with two latent dimensions, for a figure.
    tsne : bool
        Also project the latent representation by t-SNE; PCA and UMAP are always there.
    check_seeds : int
        Train this many more models with consecutive seeds and report the agreement of their clusters.
    layer : str or None
        Layer with the raw counts; None = search for them.
    transpose : bool
        Read a csv or tsv with genes as rows.
    round : bool
        Round estimated counts of SoupX, CellBender, alevin or RSEM.
    backed : bool or None
        Keep the counts of an h5ad or zarr file on disk and read them in blocks; None = if they do not fit in memory.
    device : str
        Device for training; auto = CUDA if available, otherwise the CPU.
    seed : int
        Seed of every random number.
    preprocess, model, train, cluster : PreprocessConfig, ModelConfig, TrainConfig, ClusterConfig
        Settings of the four stages.
    """

    label_key: str | None = None
    batch_key: str | None = None
    also_2d: bool = False
    tsne: bool = False
    check_seeds: _Count = 0
    layer: str | None = None
    transpose: bool = False
    round: bool = False
    backed: bool | None = None
    device: Device = "auto"
    seed: _Seed = 0
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        check_fields(self)


_PAPER = Settings(
    preprocess=PreprocessConfig(gene_selection="seurat", n_top_genes=720),
    model=ModelConfig(encoder_layers=(512, 512), decoder_layers=(512, 512), library="inferred", likelihood="zinb"),
    train=TrainConfig(
        batch_size=16, max_epochs=200, learning_rate=1e-3, schedule="constant", thinning=False,
        neighbor_targets=False, adversarial_learning_rate=9e-5, prior_update="separate", prior_weight=1e-3,
        prior_weight_batched=1e-2, library_kl_weight=0.1, validation_fraction=0.0, patience=None
    ),
    cluster=ClusterConfig(method="kmeans"),
)  # fmt: skip


def preset(name: str) -> Settings:
    """Return named settings: ``default``, or ``paper`` (the published architecture and rates, integer counts).

    ``paper`` follows the authors' published configuration for Zeisel at ten latent dimensions. Its library weight is
    0.05 of the sum form, which is 0.1 of the usual KL with its factor ½; the encoder's adversarial rate is a
    thousandth of the autoencoder's. Where text and code differ, see ``docs/method.md``.

    Raises
    ------
    ScraeError
        The name is unknown.
    """
    if name not in (known := typing.get_args(Preset)):
        raise ScraeError(f"preset: expected 'default' or 'paper', found {name!r}{did_you_mean(name, known)}")
    return _PAPER if name == "paper" else Settings()


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as a dict for JSON: tuples become lists."""
    return dict(json.loads(json.dumps(dataclasses.asdict(config))))


def from_dict(cls: type[C], values: dict[str, Any]) -> C:
    """Return the config of class ``cls`` that ``to_dict`` wrote as ``values``; missing settings keep their defaults.

    Raises
    ------
    ScraeError
        ``values`` is not a dict, or holds an unknown name or a wrong value.
    """
    where = cls.__name__.removesuffix("Config").lower()  # as the fields of Settings are called
    if not isinstance(values, dict):
        raise ScraeError(f"{where}: expected a mapping of settings, found {type(values).__name__}")
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(hints), key=str):
        raise ScraeError(f"{where}: unknown setting {show(unknown[0])}; known are {', '.join(sorted(hints))}")
    return cls(**{
        name: from_dict(hints[name], value) if dataclasses.is_dataclass(hints[name])
        else tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    })  # fmt: skip
