"""Expected values of the unit tests in src/stats, from SciPy, scikit-learn and NumPy.

Run: python tests/reference/stats_reference.py
The inputs are made by a formula, so that both sides have them to the last bit without a file.
"""

import numpy as np
import scipy
import sklearn
from scipy import stats
from scipy.special import betainc
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score, roc_auc_score


def table(n, dim):
    """n x dim values, float32-exact multiples of 1/64: row i, column j from integers alone."""
    i, j = np.meshgrid(np.arange(n), np.arange(dim), indexing="ij")
    noise = (i * i * 7 + i * 13 + j * j * 5 + i * j * 11 + j * 3) % 101 - 50
    return (noise + 20 * (i % 7) * (j % 2) + 64 * j) / 64.0


print("versions", scipy.__version__, sklearn.__version__, np.__version__)

print("\n# regularised incomplete beta: a, b, x -> P(Beta <= x)")
for a, b, x in [(1, 299, 0.01), (21, 2980, 0.01), (0.5, 0.5, 0.3), (9951, 990050, 0.0101), (500000, 500001, 0.5005), (3, 4, 0.999)]:
    print(f"({a}, {b}, {x}): {betainc(a, b, x)!r}")

print("\n# certificate: n, alpha, delta -> largest k")
for n, alpha, delta in [(299, 1e-2, 0.05), (500, 1e-2, 0.05), (1000, 1e-2, 0.05), (2995, 1e-3, 0.05), (10000, 1e-3, 0.05), (10000, 0.05, 0.01), (1000000, 0.01, 0.05)]:
    k = np.arange(0, n)
    holds = stats.beta.sf(alpha, k + 1, n - k) <= delta
    best = int(k[holds].max())
    print(f"({n}, {alpha}, {delta}): k = {best}, P(k) = {stats.beta.sf(alpha, best + 1, n - best)!r}, P(k+1) = {stats.beta.sf(alpha, best + 2, n - best - 1)!r}")
print("smallest n:", [(a, d, next(n for n in range(1, 200000) if stats.beta.sf(a, 1, n) <= d)) for a, d in [(1e-2, 0.05), (1e-3, 0.05), (0.1, 0.1), (1e-4, 0.01)]])

print("\n# Clopper-Pearson: k, n, confidence")
for k, n, c in [(0, 100, 0.95), (7, 100, 0.95), (100, 100, 0.95), (1, 3, 0.9), (1003, 100000, 0.99)]:
    ci = stats.binomtest(k, n).proportion_ci(c, "exact")
    print(f"({k}, {n}, {c}): {float(ci.low)!r}, {float(ci.high)!r}")

print("\n# Ledoit-Wolf and Mahalanobis: table(60, 6)")
rows = table(60, 6)
lw = LedoitWolf().fit(rows)
print("shrinkage", repr(float(lw.shrinkage_)), "trace", repr(float(np.trace(lw.covariance_))))
queries = np.vstack([rows[:3], rows[:1] + 10])
print("distances", np.sqrt(lw.mahalanobis(queries)).tolist())
few = LedoitWolf().fit(table(5, 12))
print("n < dim: shrinkage", repr(float(few.shrinkage_)), "distances", np.sqrt(few.mahalanobis(table(5, 12)[:2] + 1.0)).tolist())

print("\n# GPD: survival and the moments' fit of its own quantiles")
for shape, scale in [(0.0, 2.0), (0.2, 1.5), (0.4, 0.5)]:
    print((shape, scale), [float(-stats.genpareto.logsf(e, shape, scale=scale)) for e in (0.1, 1.0, 30.0)])

print("\n# AUROC and average precision, with ties")
normal = [0.1, 0.2, 0.2, 0.35, 0.4, 0.4, 0.5]
anomalous = [0.2, 0.4, 0.4, 0.8, 0.9]
labels = [0] * len(normal) + [1] * len(anomalous)
print(roc_auc_score(labels, normal + anomalous), average_precision_score(labels, normal + anomalous))
normal, anomalous = table(97, 1)[:, 0], table(41, 3)[:, 1]
labels = [0] * len(normal) + [1] * len(anomalous)
scores = np.concatenate([normal, anomalous])
print(roc_auc_score(labels, scores), average_precision_score(labels, scores))

print("\n# ridge: table(40, 3) against the row's fourth column, lambda 2.5")
full = table(40, 4)
ridge = Ridge(alpha=2.5, solver="cholesky").fit(full[:, :3], full[:, 3])
print(ridge.coef_.tolist(), float(ridge.intercept_), ridge.predict(full[:2, :3] + 1).tolist())
centred, y = full[:, :3] - full[:, :3].mean(0), full[:, 3] - full[:, 3].mean()
print("normal equations by NumPy", np.linalg.solve(centred.T @ centred + 2.5 * np.eye(3), centred.T @ y).tolist())
