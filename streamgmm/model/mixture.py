"""The Gaussian mixture: a frozen value, and its JSON."""

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np

from ..errors import ModelError
from ..options import CovarianceType
from .space import BY_TYPE, Ranges, SampleSpace

COVARIANCE_TYPES: tuple[str, ...] = get_args(CovarianceType)
# Of which all components have one covariance.
SHARED = ("tied", "isotropic")
FORMAT, VERSION = "streamgmm mixture", 1


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K Gaussians over colors of D bands in [0, 1], or where these are in another space.

    Attributes
    ----------
    weights : ndarray of shape (K,), float64
        Share of each component, >= 0, summing to 1.
    means : ndarray of shape (K, D), float64
        Means, in [0, 1]; or of linear light, CIE Lab divided by 100, or Oklab with a and b doubled, where
        ``space.distances`` says so. As colors in [0, 1], they are ``colors``.
    covariances : ndarray, float64
        Shape (K, D, D) for ``full``, (D, D) for ``tied``, (K, D) for ``diag``, (K,) for ``spherical``: scikit-learn's shapes;
        () for ``isotropic``, one variance for all components and bands.
    covariance_type : {"full", "tied", "diag", "spherical", "isotropic"}
    space : SampleSpace
        What samples mean: which values are 0 and 1, and where distances of their colors are taken.
    fixed : ndarray of shape (K,), bool
        Components whose means were given, and stay; none by default.
    origin : str or None
        The file that it was read from.

    Raises
    ------
    ModelError
        Where shapes disagree, a number is not finite, or the weights do not sum to 1.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    covariance_type: CovarianceType = "full"
    space: SampleSpace = BY_TYPE
    fixed: np.ndarray = field(default_factory=lambda: np.zeros((), bool))
    origin: str | None = None

    def __post_init__(self):
        for name in ("weights", "means", "covariances"):
            try:
                array = np.array(getattr(self, name), np.float64)
            except (TypeError, ValueError) as error:
                raise ModelError(f"a damaged model ({error}); {name} are to be numbers") from None
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ModelError(f"covariance_type is {self.covariance_type!r}; use one of {', '.join(COVARIANCE_TYPES)}")
        if self.means.ndim != 2 or self.means.size == 0:
            raise ModelError(f"means have shape {self.means.shape}; expected (components, bands)")
        n_components, n_bands = self.means.shape
        shapes = {
            "full": (n_components, n_bands, n_bands),
            "tied": (n_bands, n_bands),
            "diag": (n_components, n_bands),
            "spherical": (n_components,),
            "isotropic": (),
        }
        for name, shape in (("weights", (n_components,)), ("covariances", shapes[self.covariance_type])):
            if getattr(self, name).shape != shape:
                raise ModelError(
                    f"{name} have shape {getattr(self, name).shape}; expected {shape} for {n_components} components, "
                    f"{n_bands} bands and {self.covariance_type} covariances"
                )
        object.__setattr__(self, "fixed", np.broadcast_to(np.asarray(self.fixed, bool), n_components))
        if self.space.range is not None and len(self.space.range) != n_bands:
            raise ModelError(f"range is {self.space.range}; expected one for each of {n_bands} bands")
        if not self.space.is_of(n_bands):
            raise ModelError(f"space is {self.space.distances}, of 1 or 3 bands; the means have {n_bands}")
        if not all(np.isfinite(a).all() for a in (self.weights, self.means, self.covariances)):
            raise ModelError("weights, means or covariances hold a number that is not finite")
        if self.weights.min() < 0 or abs(self.weights.sum() - 1) > 1e-6:
            raise ModelError(f"weights must be >= 0 and sum to 1; they sum to {self.weights.sum():.6g}")

    @classmethod
    def alike(
        cls,
        means: np.ndarray,
        covariance: np.ndarray,
        covariance_type: CovarianceType,
        weights: np.ndarray | None = None,
        space: SampleSpace = BY_TYPE,
    ) -> "Mixture":
        """Return components around means (K, D) with one covariance (D, D) for all, of equal weight by default."""
        n_components, variances = len(means), np.diag(covariance)
        covariances = {
            "full": np.repeat(covariance[None], n_components, axis=0),
            "tied": covariance,
            "diag": np.repeat(variances[None], n_components, axis=0),
            "spherical": np.full(n_components, variances.mean()),
            "isotropic": variances.mean(),
        }[covariance_type]
        weights = np.full(n_components, 1 / n_components) if weights is None else weights
        return cls(weights, means, covariances, covariance_type, space)

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return self.means.shape[0]

    @property
    def n_bands(self) -> int:
        """Number of bands D."""
        return self.means.shape[1]

    @cached_property
    def colors(self) -> np.ndarray:
        """The means as colors in [0, 1], shape (K, D); of other spaces some may lie outside."""
        return self.space.colors_of(self.means)

    @cached_property
    def full_covariances(self) -> np.ndarray:
        """The covariances as matrices, shape (K, D, D), whatever the type."""
        shape = (self.n_components, self.n_bands, self.n_bands)
        if self.covariance_type in ("full", "tied"):
            return np.broadcast_to(self.covariances, shape)
        variances = np.atleast_1d(self.covariances)
        matrices = variances.reshape(len(variances), 1, -1) * np.eye(self.n_bands)
        matrices = np.broadcast_to(matrices, shape).copy()
        matrices.flags.writeable = False
        return matrices

    def whitening_roots(self) -> np.ndarray:
        """Inverse Cholesky factors, lower triangular, shape (K, D, D): the squared length of root @ (x - mean) is Mahalanobis'.

        Raises
        ------
        ModelError
            Where a covariance is not positive definite.
        """
        try:
            return np.linalg.inv(np.linalg.cholesky(self.full_covariances))
        except np.linalg.LinAlgError:
            raise ModelError("a covariance is not positive definite; fit with a larger reg_covar") from None

    def take(self, components) -> "Mixture":
        """Return the mixture of some components, in the order given, their weights scaled to sum to 1."""
        components = np.asarray(components)
        covariances = self.covariances if self.covariance_type in SHARED else self.covariances[components]
        weights = self.weights[components]
        fixed = self.fixed[components]
        return replace(
            self, weights=weights / weights.sum(), means=self.means[components], covariances=covariances, fixed=fixed
        )

    def standing(self, components: np.ndarray) -> "Mixture":
        """Return the mixture in which the means of some components are given."""
        return replace(self, fixed=np.isin(np.arange(self.n_components), components))

    def order(self) -> np.ndarray:
        """Return the numbers of the components by falling weight, equal weights by rising mean."""
        return np.lexsort((*self.means.T[::-1], -self.weights))

    def ordered(self) -> "Mixture":
        """Return the components in that order: equal fits get equal palettes."""
        return self.take(self.order())

    def to_dict(self) -> dict[str, Any]:
        """Return the model as it stands in a model file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "n_components": self.n_components,
            "n_bands": self.n_bands,
            "covariance_type": self.covariance_type,
            **self.space.to_dict(),
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            **({"fixed": np.flatnonzero(self.fixed).tolist()} if self.fixed.any() else {}),
        }

    def info(self) -> dict[str, Any]:
        """Describe the model for a person."""
        return {
            "format": f"{FORMAT} {VERSION}",
            "components": self.n_components,
            "bands": self.n_bands,
            "covariances": self.covariance_type,
            "range": _told(self.space.range),
            "space": self.space.distances,
            "weights": [round(weight, 6) for weight in self.weights.tolist()],
        }

    def to_json(self, **more: str) -> str:
        """Write as versioned JSON, with a line for each component, and what more there is to say."""
        fields = []
        for key, value in {**self.to_dict(), **more}.items():
            text = json.dumps(value)
            if isinstance(value, list):
                text = "[\n    " + ",\n    ".join(json.dumps(row) for row in value) + "\n  ]"
            fields.append(f'  "{key}": {text}')
        return "{\n" + ",\n".join(fields) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> "Mixture":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ModelError
            Where the text is not a model of this version.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"not JSON ({error})") from None
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise ModelError(f'not a model (its "format" is not "{FORMAT}")')
        if fields.get("version") != VERSION:
            raise ModelError(f"a model of version {fields.get('version')}; this streamgmm reads version {VERSION}")
        try:
            names = ("weights", "means", "covariances", "covariance_type")
            mixture = cls(**{name: fields[name] for name in names}, space=SampleSpace.from_dict(fields))
            mixture = mixture.standing(fields.get("fixed", ()))
        except ModelError:  # which is a ValueError, too
            raise
        except KeyError as error:
            raise ModelError(f"a model without {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"a damaged model ({error})") from None
        mixture.whitening_roots()
        return mixture


def _told(ranges: Ranges | None) -> str | list[str] | None:
    """Return ranges as text, one where bands are alike."""
    texts = [f"{low:g} to {high:g}" for low, high in ranges or ()]
    return texts if len(set(texts)) > 1 else next(iter(texts), None)
