"""scikit-learn's interface: a transformer to codes and a clusterer, for raw counts as arrays or sparse matrices.

What is not counts: whole numbers >= 0 of any type are taken as they are. Fractions, such as estimated counts, are
rounded to the nearest whole number (halves to even), and a :class:`scrae.ScraeWarning` says so, since values that were
normalised make no sense here: turn it into an error by ``warnings.simplefilter("error", scrae.ScraeWarning)``. Negative
values, NaN, infinity and counts beyond int32 are refused (``ValueError``).

Genes are columns, in the order of ``fit``; select them before, by ``scrae.pp`` or within a ``Pipeline``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from . import tl
from .cluster.transfer import nearest_clusters
from .config import ModelConfig, TrainConfig
from .core.data import CountData
from .core.fit import fit
from .core.input_pca import input_components
from .core.model import SCRAE
from .errors import ScraeWarning

__all__ = ["SCRAEClusterer", "SCRAETransformer"]

_LARGEST = 2**32
"""Seeds are below it."""


class SCRAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # bases without types
    """Raw counts to latent codes, by a model that ``fit`` trains.

    Parameters
    ----------
    n_latent : dimensions of the code.
    prior_weight : λ of the paper's eq. 3, the pull of the codes towards the prior.
    max_epochs : most passes over the cells; None = as many as make 1,000 steps.
    random_state : a seed, a generator of NumPy to draw one from, or None: another one each time.
    device : where torch computes.

    Attributes
    ----------
    model_ : the trained :class:`scrae.SCRAE`, in evaluation mode.
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.
    """

    def __init__(
        self,
        n_latent: int = 10,
        *,
        prior_weight: float = 1.0,
        max_epochs: int | None = None,
        random_state: Any = 0,
        device: Any = "cpu",
    ) -> None:
        self.n_latent = n_latent
        self.prior_weight = prior_weight
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SCRAETransformer:  # noqa: N803, ARG002 (scikit-learn's names)
        """Train a model on counts, array or sparse matrix [cells, genes]; a tenth of the cells stops it early.

        Raises
        ------
        ValueError : what is no counts, fewer than 2 cells, or a parameter out of range (a ScraeError).
        """
        data = _counts(self, X, self.device, first=True)
        config = TrainConfig(
            prior_weight=self.prior_weight,
            max_epochs=_whole(self.max_epochs),
            seed=_seed(self.random_state),
        )
        model = SCRAE.for_data(data, ModelConfig(n_latent=_whole(self.n_latent)), seed=config.seed)
        fit(model, data, config)
        self.model_ = model
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the codes of counts [cells, genes], float32 [cells, n_latent]."""
        check_is_fitted(self)
        return self.model_.encode(_counts(self, X, self.device))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803, ARG002
        """Return the mean log-likelihood of cells [cells, genes], in nats per cell; larger is better.

        It is that of the ZINB (paper, eq. 6), each cell being decoded from its own code, and compares models on the
        same genes. On cells held out, as in ``GridSearchCV``, it does not reward overfitting.
        """
        check_is_fitted(self)
        data = _counts(self, X, self.device)
        return -self.model_.held_out_loss(data, torch.arange(len(data)))

    @property
    def _n_features_out(self) -> int:
        return self.model_.config.n_latent

    def __sklearn_tags__(self) -> Any:
        tags = _tags(super().__sklearn_tags__())
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SCRAEClusterer(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # bases without types
    """Raw counts to clusters: codes of a model, then ``scrae.tl.cluster``.

    Parameters
    ----------
    n_clusters : K; None = chosen without labels (:func:`scrae.cluster.partition.choose_n_clusters`).
    n_latent, prior_weight, max_epochs, random_state, device : as in :class:`SCRAETransformer`.

    Attributes
    ----------
    labels_ : int64 [cells], the clusters of the training cells, 0 the largest.
    n_clusters_ : how many there are.
    transformer_ : the fitted :class:`SCRAETransformer`.
    codes_ : float32 [cells, n_latent], of the training cells.
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.
    """

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        n_latent: int = 10,
        prior_weight: float = 1.0,
        max_epochs: int | None = None,
        random_state: Any = 0,
        device: Any = "cpu",
    ) -> None:
        self.n_clusters = n_clusters
        self.n_latent = n_latent
        self.prior_weight = prior_weight
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SCRAEClusterer:  # noqa: N803, ARG002
        """Train a model on counts [cells, genes] and cluster the cells' codes.

        Raises
        ------
        ValueError : as :meth:`SCRAETransformer.fit`; or more clusters than distinct codes (a ScraeError).
        """
        validate_data(self, X, accept_sparse="csr", ensure_min_samples=2, ensure_non_negative=True)
        seed = _seed(self.random_state)
        transformer = SCRAETransformer(
            self.n_latent,
            prior_weight=self.prior_weight,
            max_epochs=self.max_epochs,
            random_state=seed,
            device=self.device,
        )
        model = transformer.fit(X).model_
        data = _counts(transformer, X, self.device)
        codes = model.encode(data)
        cells = AnnData(
            codes, obsm={"X_scrae": codes, "X_scrae_input": input_components(model, data, seed=seed)}
        )
        tl.cluster(cells, n_clusters=_whole(self.n_clusters), seed=seed)
        self.transformer_, self.codes_ = transformer, codes
        self.labels_ = cells.obs["scrae"].cat.codes.to_numpy(np.int64)
        self.n_clusters_ = int(self.labels_.max()) + 1
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return, for counts [cells, genes], the cluster of most of the 15 nearest training cells, int64 [cells].

        For the training cells themselves this is almost, but not always, ``labels_``.
        """
        check_is_fitted(self)
        validate_data(self, X, accept_sparse="csr", ensure_non_negative=True, reset=False)
        return nearest_clusters(self.transformer_.transform(X), self.codes_, self.labels_).label

    def __sklearn_tags__(self) -> Any:
        return _tags(super().__sklearn_tags__())


def _tags(tags: Any) -> Any:
    tags.input_tags.sparse = True
    tags.input_tags.positive_only = True
    return tags


def _counts(estimator: Any, x: Any, device: Any, *, first: bool = False) -> CountData:
    """Return checked whole numbers; ``first`` in ``fit``, where names and number of genes are learned."""
    checked: Any = validate_data(
        estimator,
        x,
        accept_sparse="csr",
        ensure_non_negative=True,
        ensure_min_samples=2 if first else 1,
        reset=first,
    )
    counts = sparse.csr_matrix(checked)
    broken = counts.data != np.rint(counts.data)
    if broken.any():
        warnings.warn(
            f"Expected counts, found {broken.mean():.0%} of the values above 0 with fractions, such as "
            f"{counts.data[broken][0]:.6g}; they are rounded. Pass raw counts, not normalised values.",
            ScraeWarning,
            stacklevel=3,
        )
        counts = counts.rint()
    return CountData(counts, device=device)


def _seed(random_state: Any) -> Any:
    """Return a seed for the model: the given one, or one drawn from the given or a fresh generator."""
    if random_state is None:
        random_state = np.random.default_rng()
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(_LARGEST))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_LARGEST, dtype=np.int64))
    return _whole(random_state)


def _whole(value: Any) -> Any:
    """Return NumPy's whole numbers, which parameter grids hold, as Python's."""
    return int(value) if isinstance(value, np.integer) else value
