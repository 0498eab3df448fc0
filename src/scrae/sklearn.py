"""scikit-learn estimators: a transformer to latent representations and a clusterer, for arrays of raw counts.

Counts are whole numbers >= 0 of any type, array or sparse matrix [cells, genes]. Anything else (fractions, as in
normalized values, negative values, NaN, infinity) raises a ``ValueError``. Genes are columns, in the order of ``fit``;
select them before, with ``scrae.pp`` or within a ``Pipeline``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from anndata import AnnData
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from . import tl
from .cluster.transfer import transfer_labels
from .config import ModelConfig, TrainConfig
from .core.data import CountData
from .core.device import resolve_device
from .core.fit import fit
from .core.input_pca import input_components
from .core.model import SCRAE
from .errors import ScraeError, show

__all__ = ["SCRAEClusterer", "SCRAETransformer"]

_SEEDS = 2**32
"""Seeds are smaller."""


class SCRAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # bases without types
    """Raw counts to latent representations, by a model that ``fit`` trains.

    Parameters
    ----------
    n_latent : int
        Dimensions of the latent representation.
    prior_weight : float
        λ of the paper's eq. 3, the weight of the adversarial loss.
    max_epochs : int or None
        Maximum number of passes over the cells; None = enough for 1,000 steps.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        A seed, or a generator to draw one from; None = another seed in each call of ``fit``.
    device : str or torch.device
        Device of the model; ``"auto"`` = CUDA if available, otherwise the CPU.

    Attributes
    ----------
    model_ : scrae.SCRAE
        The trained model, in evaluation mode.
    n_features_in_ : int
        Number of genes.
    feature_names_in_ : ndarray of str
        Names of the genes, if ``X`` had any.
    """

    def __init__(
        self,
        n_latent: int = ModelConfig.n_latent,
        *,
        prior_weight: float = TrainConfig.prior_weight,
        max_epochs: int | None = TrainConfig.max_epochs,
        random_state: Any = 0,
        device: Any = "auto",
    ) -> None:
        self.n_latent = n_latent
        self.prior_weight = prior_weight
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SCRAETransformer:  # noqa: N803, ARG002 (scikit-learn's names)
        """Train a model; a tenth of the cells is held out for early stopping.

        Parameters
        ----------
        X : array or sparse matrix [cells, genes]
            Raw counts.
        y : None
            Not used.

        Returns
        -------
        SCRAETransformer
            This estimator.

        Raises
        ------
        ValueError
            X is not a count matrix or has fewer than 2 cells, or a parameter is out of range (a ScraeError).
        """
        data, seed = _counts(self, X, first=True), _seed(self.random_state)
        config = TrainConfig(prior_weight=self.prior_weight, max_epochs=_python_int(self.max_epochs))
        model = SCRAE.for_data(data, ModelConfig(n_latent=_python_int(self.n_latent)), seed=seed)
        fit(model, data, config, seed=seed)
        self.model_ = model
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the latent representation of counts [cells, genes], float32 [cells, n_latent]."""
        check_is_fitted(self)
        return self.model_.encode(_counts(self, X))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803, ARG002
        """Return the mean log-likelihood of cells [cells, genes], in nats per cell; larger is better.

        It is that of the ZINB (paper, eq. 6), each cell decoded from its own code, and compares models on the same
        genes. On held-out cells, as in ``GridSearchCV``, it does not reward overfitting.
        """
        check_is_fitted(self)
        data = _counts(self, X)
        return -self.model_.held_out_loss(data, torch.arange(len(data)))

    @property
    def _n_features_out(self) -> int:
        return self.model_.config.n_latent

    def __sklearn_tags__(self) -> Any:
        tags = _tags(super().__sklearn_tags__())
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SCRAEClusterer(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # bases without types
    """Raw counts to clusters: latent representations of a model, then ``scrae.tl.cluster``.

    Parameters
    ----------
    n_clusters : int or None
        Number of clusters; None = chosen without labels (:func:`scrae.cluster.partition.choose_n_clusters`).
    n_latent, prior_weight, max_epochs, random_state, device
        As in :class:`SCRAETransformer`.

    Attributes
    ----------
    labels_ : ndarray of int64 [cells]
        Clusters of the training cells by decreasing size.
    n_clusters_ : int
        Number of clusters found.
    transformer_ : SCRAETransformer
        The fitted transformer.
    codes_ : ndarray of float32 [cells, n_latent]
        Latent representation of the training cells.
    n_features_in_, feature_names_in_
        As in :class:`SCRAETransformer`.
    """

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        n_latent: int = ModelConfig.n_latent,
        prior_weight: float = TrainConfig.prior_weight,
        max_epochs: int | None = TrainConfig.max_epochs,
        random_state: Any = 0,
        device: Any = "auto",
    ) -> None:
        self.n_clusters = n_clusters
        self.n_latent = n_latent
        self.prior_weight = prior_weight
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SCRAEClusterer:  # noqa: N803, ARG002
        """Train a model on counts [cells, genes] and cluster the cells.

        Raises
        ------
        ValueError
            As :meth:`SCRAETransformer.fit`; or more clusters than distinct codes (a ScraeError).
        """
        data, seed = _counts(self, X, first=True), _seed(self.random_state)
        parameters = {name: value for name, value in self.get_params().items() if name != "n_clusters"}
        transformer = SCRAETransformer(**parameters | {"random_state": seed}).fit(X)
        codes = transformer.model_.encode(data)
        beside = input_components(transformer.model_, data, seed=seed)
        cells = AnnData(codes, obsm={"X_scrae": codes, "X_scrae_input": beside})
        tl.cluster(cells, n_clusters=_python_int(self.n_clusters), seed=seed)
        self.transformer_, self.codes_ = transformer, codes
        self.labels_ = cells.obs["scrae"].cat.codes.to_numpy(np.int64)
        self.n_clusters_ = int(self.labels_.max()) + 1
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return for counts [cells, genes] the majority cluster of the 15 nearest training cells, int64 [cells].

        For the training cells themselves this is almost, but not always, ``labels_``.
        """
        check_is_fitted(self)
        codes = self.transformer_.model_.encode(_counts(self, X))
        return transfer_labels(codes, self.codes_, self.labels_).label

    def __sklearn_tags__(self) -> Any:
        return _tags(super().__sklearn_tags__())


def _tags(tags: Any) -> Any:
    tags.input_tags.sparse = True
    tags.input_tags.positive_only = True
    return tags


def _counts(estimator: Any, x: Any, *, first: bool = False) -> CountData:
    """Return checked counts; ``first`` in ``fit``, which stores names and number of genes."""
    if isinstance(x, AnnData):
        raise ScraeError("X: expected an array of raw counts, found an AnnData; give adata.layers['counts']")
    least = 2 if first else 1
    checked: Any = validate_data(
        estimator, x, accept_sparse="csr", ensure_non_negative=True, ensure_min_samples=least, reset=first
    )
    return CountData(checked, device=resolve_device(estimator.device))


def _seed(random_state: Any) -> Any:
    """Return the given seed, or one drawn from the given or a fresh generator."""
    if random_state is None:
        random_state = np.random.default_rng()
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(_SEEDS))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_SEEDS, dtype=np.int64))
    seed = _python_int(random_state)
    if type(seed) is not int or not 0 <= seed < _SEEDS:
        raise ScraeError(
            f"random_state: expected a seed from 0 to {_SEEDS - 1} or a generator, found {show(random_state)}"
        )
    return seed


def _python_int(value: Any) -> Any:
    """Return a whole number of NumPy, as in parameter grids, as one of Python."""
    return int(value) if isinstance(value, np.integer) else value
