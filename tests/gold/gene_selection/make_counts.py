"""Write counts.csv.gz: the seeded synthetic counts that make_gold.R reads (240 cells of four kinds x 420 genes).

    python make_counts.py

Rows are cells, the first line names the genes. The file is kept, so that no later NumPy can change it.
"""

import gzip
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
# Names on SCMarker's own list of human genes to leave out, given to marker genes so that the list matters.
LISTED = {0: "RPL10", 25: "RPS3", 50: "MT-CO1", 75: "RPL3"}


def counts() -> np.ndarray:
    rng = np.random.default_rng(20190401)
    kind = np.repeat(np.arange(4), [100, 70, 45, 25])
    mean = rng.lognormal(-0.3, 1.3, 420)
    share = np.tile(mean, (4, 1))
    for gene in range(100):  # each a marker of one kind, the others show a tenth of it or less
        others = np.arange(4) != gene // 25
        share[~others, gene] = 2 + 3 * mean[gene]
        share[others, gene] *= rng.uniform(0, 0.1)
    share[:, 100:106] = rng.uniform(12, 40, 6)  # on in every cell
    depth = rng.lognormal(0, 0.35, kind.size)
    size = np.where(np.arange(420) < 320, 2.5, 0.7)
    expected = share[kind] * depth[:, None]
    x = rng.poisson(rng.gamma(size, expected / size))
    return x[:, (x > 0).any(axis=0)]


def main() -> None:
    x = counts()
    names = [LISTED.get(gene, f"g{gene}") for gene in range(x.shape[1])]
    lines = [",".join(names), *(",".join(map(str, row)) for row in x)]
    with gzip.GzipFile(HERE / "counts.csv.gz", "wb", mtime=0) as stream:
        stream.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
