"""A logistic regression on what the image encoder sees: what images tell without a language model.

Axes: N records, D features.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from palitune.errors import BadDataError

if TYPE_CHECKING:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse of the penalty; cross-validation chooses
FOLDS = 5


def _regression(labels: Sequence[str], folds: int, seed: int) -> "GridSearchCV | Pipeline":
    """An estimator that chooses its penalty by the log loss of a stratified cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    fewest = min(Counter(labels).values())
    if fewest < 2:
        return line.set_params(logisticregression__C=STRENGTHS[1])
    parts = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed)
    return GridSearchCV(line, {"logisticregression__C": list(STRENGTHS)}, scoring="neg_log_loss", cv=parts)


def require_classes(labels: Sequence[str], folds: int = 1, where: str | None = None) -> None:
    """Raises BadDataError, with `where` the labels are, unless each is there often enough for so many folds."""
    counts = Counter(labels)
    if len(counts) < 2:
        raise BadDataError("every label is the same: there is nothing to tell apart", where=where)
    rare, count = min(counts.items(), key=lambda pair: pair[1])
    if count < folds:
        hint = f"--folds {count} is the most" if count > 1 else "It needs two records of each label"
        raise BadDataError(
            f'{folds} folds, and only {count} of the records {"is" if count == 1 else "are"} "{rare}"',
            where=where,
            hint=hint,
        )


def parts(
    labels: Sequence[str], folds: int, seed: int, groups: Indices | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Folds with the labels' shares: indices int[...] of what is learned from, and of what is held out.

    Args:
      groups: int[N]; records with equal numbers are in one fold.

    Raises:
      BadDataError: so many records are in one group that a fold has none.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names = np.array(labels)
    if groups is None or len(np.unique(groups)) == len(names):
        return StratifiedKFold(folds, shuffle=True, random_state=seed).split(names, names)
    made = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = list(made.split(names, names, groups)) if len(np.unique(groups)) >= folds else []
    if not found or not all(len(held_out) for _, held_out in found):
        raise BadDataError(f"so many records are about the same that one of {folds} folds has none", hint="Use fewer")
    return iter(found)


def fit_predict(
    features: Features, labels: Sequence[str], others: Features, classes: Sequence[str], seed: int = 0
) -> Floats:
    """Probabilities float64[M, C] of other records' features [M, D], after a fit to float32[N, D] and N labels."""
    require_classes(labels)
    model = _regression(labels, FOLDS, seed).fit(features, np.array(labels))
    return _columns(model.predict_proba(others), list(model.classes_), classes)


def out_of_fold(
    features: Features,
    labels: Sequence[str],
    folds: int,
    classes: Sequence[str],
    seed: int = 0,
    groups: Indices | None = None,
) -> Floats:
    """Probabilities float64[N, C] of every record by a fit that has not seen it.

    Args:
      groups: int[N]; records with equal numbers are about the same, and no fit has seen any of them.

    Raises:
      BadDataError: a label is there less often than there are folds, or as `parts`.
    """
    require_classes(labels, folds)
    found = np.zeros((len(labels), len(classes)))
    names = np.array(labels)
    for learned, held_out in parts(labels, folds, seed, groups):
        found[held_out] = fit_predict(features[learned], names[learned].tolist(), features[held_out], classes, seed)
    return found


def _columns(p: Floats, found: Sequence[str], classes: Sequence[str]) -> Floats:
    """Columns in the order of the classes; one that was not among the labels has probability 0."""
    return np.stack(
        [p[:, found.index(name)] if name in found else np.zeros(len(p)) for name in classes],
        axis=1,
    )
